/** What is done at a PostgreSQL database about one user. Each step may be done twice, by two nodes at once. */
import type { DatabasePolicy } from '@ringwall/ring'
import type pg from 'pg'

const CONNECT_MS_MAX = 4_000
const STATEMENT_MS_MAX = 8_000

export interface DatabaseUser {
  readonly name: string
  /** As the database keeps a password. */
  readonly verifier: string
  readonly expiresAtMs: number
}

/** @throws {Error} Of the database, or of the way there. No password is in it. */
async function connected<T>(
  { host, port, database, user, tls }: DatabasePolicy,
  password: string,
  run: (client: pg.Client) => Promise<T>,
): Promise<T> {
  // Loaded by who leases users of databases: others save the memory.
  const { default: library } = await import('pg')
  const client = new library.Client({
    host,
    port,
    database,
    user,
    password,
    ssl: tls === 'off' ? false : { rejectUnauthorized: true, servername: host },
    connectionTimeoutMillis: CONNECT_MS_MAX,
    statement_timeout: STATEMENT_MS_MAX,
    query_timeout: STATEMENT_MS_MAX,
    application_name: 'ringwall',
  })
  // Without, the end of a connection that nobody waits for ends the process.
  client.on('error', () => {})
  try {
    await client.connect()
    return await run(client)
  } finally {
    await client.end().catch(() => {})
  }
}

/** One at a time for each user: two nodes may be at it. */
async function locked(client: pg.Client, name: string): Promise<void> {
  await client.query('SELECT pg_advisory_xact_lock(hashtextextended($1, 0))', [`ringwall ${name}`])
}

async function exists(client: pg.Client, name: string): Promise<boolean> {
  return ((await client.query('SELECT 1 FROM pg_roles WHERE rolname = $1', [name])).rowCount ?? 0) > 0
}

/** Makes the user with what it is granted, or sets its end anew. */
export function makeUser(
  database: DatabasePolicy,
  grants: readonly string[],
  password: string,
  user: DatabaseUser,
): Promise<void> {
  return connected(database, password, async (client) => {
    const name = client.escapeIdentifier(user.name)
    const until = client.escapeLiteral(new Date(user.expiresAtMs).toISOString())
    await client.query('BEGIN')
    await locked(client, user.name)
    if (await exists(client, user.name)) await client.query(`ALTER ROLE ${name} VALID UNTIL ${until}`)
    else {
      await client.query(`CREATE ROLE ${name} LOGIN PASSWORD ${client.escapeLiteral(user.verifier)} VALID UNTIL ${until}`)
      for (const grant of grants) await client.query(grant.replaceAll('{{name}}', name))
    }
    await client.query('COMMIT')
  })
}

/** Ends its connections, and drops it with what it may do; what it made goes to the administrator. */
export function dropUser(database: DatabasePolicy, password: string, userName: string): Promise<void> {
  return connected(database, password, async (client) => {
    const name = client.escapeIdentifier(userName)
    if (!(await exists(client, userName))) return
    await client.query(`ALTER ROLE ${name} NOLOGIN`)
    // Who is no superuser ends the connections of its own roles only.
    await client.query(`GRANT ${name} TO CURRENT_USER`)
    await client.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1', [userName])
    await client.query('BEGIN')
    await locked(client, userName)
    if (await exists(client, userName)) {
      await client.query(`REASSIGN OWNED BY ${name} TO CURRENT_USER`)
      await client.query(`DROP OWNED BY ${name}`)
      await client.query(`DROP ROLE ${name}`)
    }
    await client.query('COMMIT')
  })
}
