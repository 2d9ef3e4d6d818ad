/** Of this program; the same as in package.json (test/unit/base/release.test.ts). */
export const release = '0.1.0'
