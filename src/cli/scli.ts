#!/usr/bin/env node
import { runScli } from './scli/main.js'

process.exitCode = await runScli(process.argv.slice(2))
