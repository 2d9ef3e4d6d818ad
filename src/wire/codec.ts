import { Packr } from 'msgpackr'

const packr = new Packr({ useRecords: false, mapsAsObjects: true, int64AsType: 'number' })

/** msgpack, without extensions: what control messages and the structured bodies of data frames are written in. */
export const encode = (value: unknown): Buffer => packr.pack(value)
/** Throws whatever msgpackr throws on malformed bytes; callers translate. */
export const decode = (bytes: Uint8Array): unknown => packr.unpack(bytes)
