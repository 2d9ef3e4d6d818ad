export const KiB = 1024
export const MiB = 1024 * KiB
export const GiB = 1024 * MiB
export const TiB = 1024 * GiB

/** The unit of allocation, placement and discard. */
export const chunkBytes = 1 * MiB

/** Volume sizes are multiples of this; ScaleIO says "8 GB" and means GiB. */
export const volumeStepBytes = 8 * GiB

/** Disk I/O is widened to this, whatever the device's own sector is. */
export const blockBytes = 4 * KiB

export const chunkIndexAt = (offsetBytes: number): number => Math.floor(offsetBytes / chunkBytes)
export const chunkCountFor = (lengthBytes: number): number => Math.ceil(lengthBytes / chunkBytes)
