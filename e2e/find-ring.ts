/** Devices that have to look for their ring, in namespaces of their own: a name server and multicast that nothing outside sees. */
import { spawn, spawnSync } from 'node:child_process'
import { resolve } from 'node:path'
import { NODE_FLAGS } from './local-ring.ts'

export interface FoundRow {
  readonly what: string
  readonly outcome: string
  readonly ms: number
}

const UNSHARE = ['--map-root-user', '--net', '--mount']
const SCENE = resolve(import.meta.dirname, 'find-ring-scene.ts')

/** Why it cannot be done here; undefined when it can. */
export function whyNoNamespaces(): string | undefined {
  const { status, error, stderr } = spawnSync('unshare', [...UNSHARE, 'ip', 'link', 'set', 'lo', 'up'], { encoding: 'utf8' })
  if (status === 0) return undefined
  const why = error === undefined ? stderr.trim() : error.message
  return `needs Linux, util-linux and iproute2, and the right to make network namespaces: ${why}`
}

/** @throws What went wrong, as the scene said it. */
export function findRing(): Promise<readonly FoundRow[]> {
  const child = spawn('unshare', [...UNSHARE, process.execPath, ...NODE_FLAGS, SCENE], { stdio: ['ignore', 'pipe', 'pipe'] })
  let [told, said] = ['', '']
  child.stdout.on('data', (chunk: Buffer) => (told += String(chunk)))
  child.stderr.on('data', (chunk: Buffer) => (said += String(chunk)))
  return new Promise((settle, refuse) => {
    child.once('error', refuse)
    child.once('close', (code) => {
      if (code === 0) settle(JSON.parse(told) as readonly FoundRow[])
      else refuse(new Error(said))
    })
  })
}
