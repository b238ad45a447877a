/** A verifier of a password (RFC 5803) of PostgreSQL, as `CREATE ROLE` takes it: 4,096 rounds at least, 16 bytes of salt at least. */
export const SCRAM_VERIFIER: RegExp =
  /^SCRAM-SHA-256\$([4-9][0-9]{3}|[1-9][0-9]{4}):[A-Za-z0-9+/]{22,64}={0,2}\$[A-Za-z0-9+/]{43}=:[A-Za-z0-9+/]{43}=$/
