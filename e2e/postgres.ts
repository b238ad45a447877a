/** A real PostgreSQL on loopback, in a folder of its own, for tests. */
import { spawn, spawnSync } from 'node:child_process'
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'

const VERSIONS = '/usr/lib/postgresql'
const ADMIN = 'ringwall'

/** Where Debian has the server's programs; undefined: it is not installed (apt install postgresql). */
export function postgresPrograms(): string | undefined {
  const versions = existsSync(VERSIONS)
    ? readdirSync(VERSIONS).filter((one) => existsSync(join(VERSIONS, one, 'bin', 'initdb')))
    : []
  const newest = versions.sort((a, b) => Number(b) - Number(a))[0]
  return newest === undefined ? undefined : join(VERSIONS, newest, 'bin')
}

/** The server refuses to run as root: then as the user that Debian's package has for it, or as nobody. */
function unprivileged(): { readonly uid: number; readonly gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined
  for (const name of ['postgres', 'nobody']) {
    const [uid, gid] = ['-u', '-g'].map((flag) => Number(spawnSync('id', [flag, name], { encoding: 'utf8' }).stdout))
    if (uid !== undefined && gid !== undefined && uid > 0) return { uid, gid }
  }
  return undefined
}

function freePort(): Promise<number> {
  return new Promise((settle) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      server.close(() => settle(port))
    })
  })
}

export class Postgres {
  readonly port: number
  readonly password: string
  readonly #folder: string
  readonly #child: ReturnType<typeof spawn>

  private constructor(port: number, password: string, folder: string, child: ReturnType<typeof spawn>) {
    this.port = port
    this.password = password
    this.#folder = folder
    this.#child = child
  }

  /** @param programs As `postgresPrograms` says. */
  static async start(programs: string): Promise<Postgres> {
    const folder = mkdtempSync(join(tmpdir(), 'ringwall-postgres-'))
    const as = unprivileged()
    if (as !== undefined) chownSync(folder, as.uid, as.gid)
    const data = join(folder, 'data')
    const made = spawnSync(join(programs, 'initdb'), ['-D', data, '-U', 'postgres', '-A', 'trust', '--no-sync'], {
      ...as,
      encoding: 'utf8',
    })
    if (made.status !== 0) throw new Error(`initdb: ${made.stderr}`)
    const port = await freePort()
    const args = [
      '-D',
      data,
      '-p',
      String(port),
      '-c',
      'listen_addresses=127.0.0.1',
      '-c',
      `unix_socket_directories=${folder}`,
      '-c',
      'fsync=off',
    ]
    const child = spawn(join(programs, 'postgres'), args, { ...as, stdio: 'ignore' })
    const password = 'the administrator’s'
    const server = new Postgres(port, password, folder, child)
    for (let tries = 0; ; tries += 1) {
      try {
        await server.#asOwner(
          `CREATE ROLE ${ADMIN} LOGIN CREATEROLE PASSWORD '${password}'; CREATE DATABASE orders OWNER ${ADMIN}`,
        )
        break
      } catch (error) {
        if (tries > 60) throw error
        await delay(250)
      }
    }
    // From now on with passwords alone.
    await server.#asOwner(
      `COPY (SELECT 'host all all 127.0.0.1/32 scram-sha-256') TO '${join(data, 'pg_hba.conf')}'; SELECT pg_reload_conf()`,
    )
    await delay(300)
    return server
  }

  async #asOwner(sql: string): Promise<void> {
    const client = new pg.Client({ host: '127.0.0.1', port: this.port, user: 'postgres', database: 'postgres' })
    try {
      await client.connect()
      for (const one of sql.split('; ')) await client.query(one)
    } finally {
      await client.end().catch(() => {})
    }
  }

  /** A connection to the database; its errors are remembered, as of one that is cut. */
  async connect(user: string = ADMIN, password: string = this.password): Promise<pg.Client> {
    const client = new pg.Client({ host: '127.0.0.1', port: this.port, user, password, database: 'orders' })
    client.on('error', () => {})
    await client.connect()
    return client
  }

  async users(): Promise<readonly string[]> {
    const client = await this.connect()
    try {
      const { rows } = await client.query<{ rolname: string }>("SELECT rolname FROM pg_roles WHERE rolname LIKE 'rw\\_%'")
      return rows.map(({ rolname }) => rolname)
    } finally {
      await client.end()
    }
  }

  async destroy(): Promise<void> {
    const ended = new Promise((settle) => this.#child.once('exit', settle))
    this.#child.kill('SIGQUIT')
    await ended
    rmSync(this.#folder, { recursive: true, force: true })
  }
}
