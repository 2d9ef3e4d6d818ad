#!/usr/bin/env node
import './small-heap.js'
import { runBlockmesh } from './main.js'

process.exitCode = await runBlockmesh(process.argv)
