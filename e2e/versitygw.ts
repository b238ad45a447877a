/** Versity S3 Gateway, an S3 server over a folder, as a process of its own. Built once by Go, which fetches and verifies its source. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { eventually } from './local-ring.ts'

const VERSION = 'v1.0.14'
const FOLDER = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'ringwall', `versitygw-${VERSION}`)
const PROGRAM = join(FOLDER, 'versitygw')
const BUILD_MS_MAX = 290_000

/** Undefined when it is at hand; otherwise why not. */
export function whyNoVersitygw(): string | undefined {
  if (existsSync(PROGRAM)) return undefined
  if (spawnSync('go', ['version']).status !== 0) return 'Go is not installed, which builds Versity S3 Gateway: https://go.dev/dl'
  mkdirSync(FOLDER, { recursive: true })
  process.stderr.write(`building Versity S3 Gateway ${VERSION} in ${FOLDER} (once)\n`)
  const source = `github.com/versity/versitygw/cmd/versitygw@${VERSION}`
  const env = { ...process.env, GOBIN: FOLDER }
  const built = spawnSync('go', ['install', source], { env, timeout: BUILD_MS_MAX, encoding: 'utf8' })
  return built.status === 0 ? undefined : `go install ${source} failed: ${(built.stderr ?? '').trim().split('\n').at(-1)}`
}

export class Versitygw {
  readonly endpoint: string
  readonly #args: readonly string[]
  #child: ChildProcess | undefined

  /** @param folder With a folder for each bucket. @param sidecar For what the server notes of objects. */
  constructor(port: number, folder: string, sidecar: string, id: string, secret: string) {
    this.endpoint = `http://127.0.0.1:${port}`
    const server = ['--access', id, '--secret', secret, '--port', `127.0.0.1:${port}`, '--quiet']
    this.#args = [...server, 'posix', '--sidecar', sidecar, folder]
  }

  async start(): Promise<void> {
    const child = spawn(PROGRAM, this.#args, { stdio: ['ignore', 'ignore', 'pipe'] })
    this.#child = child
    let talk = ''
    child.stderr.on('data', (chunk: Buffer) => {
      talk += chunk.toString('utf8')
    })
    await eventually('the S3 server answers', async () => {
      if (child.exitCode !== null) throw new Error(talk)
      return (await fetch(this.endpoint)).status > 0
    })
  }

  /** SIGKILL. */
  async stop(): Promise<void> {
    const child = this.#child
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const ended = new Promise((settle) => child.once('exit', settle))
    child.kill('SIGKILL')
    await ended
  }
}
