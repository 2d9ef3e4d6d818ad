/** The kernel's NBD driver (see design section 7). Implemented by the addon; absent where the module is. */
export interface KernelNbd {
  /** null if /dev/nbdX devices can be made here; else why not, for people (module missing, not permitted …). */
  unavailable(): string | null
  /**
   * Attaches: makes socket pairs, gives one end of each to the kernel, returns ours as file descriptors. `index` null
   * picks a free device. timeout 0, dead_conn_timeout as given, then sysfs io_timeout 2000 and max_sectors_kb 1024.
   * `identifier` (backend identifier attribute) is what `attached()` lists, so that a restarted SDC finds its devices.
   */
  attach(options: KernelAttach): Promise<KernelDevice>
  /**
   * Gives a device that is attached already new sockets: the old ones must have been shut down (DEVICE_BUSY after a few
   * seconds if they are not). Fewer sockets come back if the device was attached with fewer. The size stays as it is:
   * serve the sockets first, then `resize`, which may wait for requests under way.
   */
  reconfigure(index: number, options: KernelAttach): Promise<KernelDevice>
  /** Tells the kernel a new size; the device stays in use. */
  resize(index: number, sizeBytes: number): Promise<void>
  /** Disconnects and waits until the kernel has let go (size 0, no pid). */
  detach(index: number): Promise<void>
  /** Devices that are connected now, with their backend identifier if they have one. */
  attached(): Promise<{ index: number; identifier: string | null }[]>
}

export interface KernelAttach {
  sizeBytes: number
  blockBytes: number
  /** NBD transmission flags, as the engine would send them in a handshake. */
  transmissionFlags: number
  connections: number
  deadConnectionTimeoutMs: number
  index: number | null
  identifier: string
}

export interface KernelDevice {
  index: number
  /** /dev/nbdX */
  path: string
  /** Our ends of the socket pairs: the NBD transmission phase is spoken on them. */
  socketFds: number[]
}
