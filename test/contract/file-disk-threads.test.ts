// The file engine without io_uring, as on kernels that have none: all of file-disk.test.ts once more.
process.env.BLOCKMESH_FILE_ENGINE = 'threads'
await import('./file-disk.test.js')
