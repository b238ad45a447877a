/**
 * Four real processes with playbooks, and a real receiver of webhooks: runs by the hundred, nodes that are killed while they do a step, and what the receiver
 * got of it.
 */
import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { appendFileSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { ask, eventually, TestRing } from './local-ring.ts'

const SECRET = 'a-secret-of-the-desk-only'
const PLAYBOOKS = `playbooks:
  tell:
    steps: [{ do: notify, to: desk, text: something is up }]
  contain:
    about: keeps a source out, and tells
    when: { detectors: [probing] }
    steps:
      - { do: deny, subject: source, for: 1h }
      - { name: told, do: notify, to: desk, text: a source is kept out }
      - { name: kept, do: evidence }
      - { name: agreed, do: approve, operators: 1, within: 1h }
`
/** No node sees so many by itself. */
const DETECTORS = `detectors:
  rules:
    - { name: probing, attack: [T1595.003], mode: observe, by: [source], when: { status: [404] }, over: { paths: 16 }, share: 0.5, within: 1h, reason: asks for what is not there }
`

/** What a receiver was told. */
export interface Told {
  readonly key: string
  readonly node: string
  readonly run: string
  readonly atMs: number
}

/** Takes webhooks; refuses what is not signed. While `isHeld` it answers nothing. */
export class Desk {
  readonly told: Told[] = []
  readonly refused: string[] = []
  isHeld = false
  readonly #server: Server

  constructor() {
    this.#server = createServer((request, response) => {
      let body = ''
      request.on('data', (chunk: Buffer) => (body += chunk.toString('utf8')))
      request.on('end', () => {
        const { 'webhook-id': id, 'webhook-timestamp': at, 'webhook-signature': signature } = request.headers
        const expected = `v1,${createHmac('sha256', SECRET)
          .update(`${String(id)}.${String(at)}.${body}`)
          .digest('base64')}`
        if (signature !== expected || request.headers['idempotency-key'] !== id) {
          this.refused.push(body)
          response.writeHead(401).end()
          return
        }
        const { data } = JSON.parse(body) as { data: { node: string; facts: Record<string, string> } }
        this.told.push({ key: String(id), node: data.node, run: data.facts.run ?? '', atMs: Date.now() })
        if (!this.isHeld) response.writeHead(204).end()
      })
    })
  }

  start(): Promise<number> {
    return new Promise((settle) =>
      this.#server.listen(0, '127.0.0.1', () => settle((this.#server.address() as AddressInfo).port)),
    )
  }

  stop(): void {
    this.#server.closeAllConnections()
    this.#server.close()
  }
}

export interface Scene {
  readonly ring: TestRing
  readonly desk: Desk
}

/** Leaves nothing behind when it fails. */
export async function startScene(): Promise<Scene> {
  const desk = new Desk()
  const port = await desk.start()
  let ring: TestRing | undefined
  try {
    ring = await TestRing.start()
    await equip(ring, port)
    return { ring, desk }
  } catch (error) {
    desk.stop()
    await ring?.destroy()
    throw error
  }
}

async function equip(ring: TestRing, port: number): Promise<void> {
  writeFileSync(join(ring.data, 'desk.secret'), `${SECRET}\n`, { mode: 0o600 })
  for (let node = 1; node <= ring.nodes; node += 1)
    appendFileSync(
      join(ring.data, `n${node}`, 'node.yaml'),
      `\nnotify:\n  - { name: desk, kind: webhook, url: "http://127.0.0.1:${port}/hook", secret: { file: ../desk.secret } }\n`,
    )
  // The demo application goes on.
  const nodes = Array.from({ length: ring.nodes }, (_, at) => at + 1)
  await Promise.all(nodes.map((node) => ring.kill(node)))
  for (const node of nodes) ring.start(node, 'local')
  for (const node of nodes)
    await eventually(`n${node} answers`, async () => (await ask(ring.traffic(node), '/')).status < 500, 90_000)
  const { text, version } = await ring.client(1).policy()
  const file = join(ring.data, 'playbooks.yaml')
  writeFileSync(file, `${text.replace(/^detectors:\n/m, DETECTORS)}\n${PLAYBOOKS}`)
  const applied = ring.cli('policy', 'apply', file, '--yes')
  assert.equal(applied.code, 0, applied.stderr)
  for (let node = 1; node <= ring.nodes; node += 1)
    await eventually(`n${node} has it`, async () => (await ring.client(node).policy()).version > version)
}

/** Starts so many runs, some at a time. @returns Their ids. */
export async function startRuns(ring: TestRing, count: number, name: string): Promise<readonly string[]> {
  const ids: string[] = []
  const client = ring.client(1)
  let next = 0
  const one = async (): Promise<void> => {
    while (next < count) {
      const key = `${name}-${next++}`
      ids.push(await client.playbookStart('tell', key, {}, key, { waitMs: 60_000 }))
    }
  }
  await Promise.all(Array.from({ length: Math.min(64, count) }, one))
  return ids
}

/** Kills the node that does the step of a run while the receiver holds its answer; another does it. @returns How long that took. */
export async function killWhileItTells({ ring, desk }: Scene, name: string): Promise<number> {
  desk.isHeld = true
  const [run] = (await startRuns(ring, 1, name)) as [string]
  const ofRun = (): readonly Told[] => desk.told.filter((one) => one.run === run)
  await eventually('a node does the step', () => ofRun().length === 1, 30_000)
  const [first] = ofRun() as [Told]
  const node = Number(first.node.slice(1))
  await ring.kill(node)
  const killedMs = Date.now()
  desk.isHeld = false
  await eventually('another node does it', () => ofRun().length === 2, 30_000)
  const [, second] = ofRun() as [Told, Told]
  assert.notEqual(second.node, first.node)
  assert.equal(second.key, first.key, 'a receiver that knows keys takes it once')
  const other = node === 2 ? 3 : 2
  await eventually('the run is done', async () => (await ring.client(other).playbookRun(run)).status === 'done', 30_000)
  await ring.restart(node)
  return second.atMs - killedMs
}
