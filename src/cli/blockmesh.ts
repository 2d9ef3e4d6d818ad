#!/usr/bin/env node
import { runBlockmesh } from './main.js'

process.exitCode = await runBlockmesh(process.argv)
