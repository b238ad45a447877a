/** Names and bounds of buckets and objects. Safe for browsers. */

/** As S3 names buckets: what is a name of a host, without dots, which certificates with wildcards do not cover. */
export const BUCKET_NAME: RegExp = /^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$/
export const BUCKET_NAME_EXPECTED = '3 to 63 lower-case letters, digits and hyphens, that begin and end with a letter or digit'
export const OBJECT_KEY_BYTES_MAX = 1_024
/** Of one object: 64 GiB. */
export const OBJECT_BYTES_MAX = 68_719_476_736
/** Pieces that one object is cut into, data and parity together. */
export const OBJECT_SHARDS_MAX = 8
/** A hundred years. */
export const RETAIN_MS_MAX: number = 36_500 * 86_400_000
