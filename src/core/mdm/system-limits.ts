/** How large a system may become; the numbers are ScaleIO's. Checked where an object is added. */
export const systemLimits = {
  mdms: 16,
  protectionDomains: 256,
  pools: 1024,
  poolsPerDomain: 64,
  sdss: 512,
  sdssPerDomain: 128,
  faultSetsPerDomain: 64,
  sdssPerFaultSet: 64,
  devicesPerSds: 64,
  devicesPerPool: 300,
  sdcs: 2048,
  volumes: 131_072,
  volumesPerDomain: 32_768,
  volumesPerSdc: 8192,
  volumeGbPerPool: 4_194_303,
  volumeGbPerSystem: 16_777_216,
} as const
