/**
 * The whole ring lost and put back: four nodes with secrets and keys, an image of each, SIGKILL to all, their folders gone, and two of three operators.
 * Prints what that took and what was lost.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CreateBucketCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import type { DrillReport } from '../packages/cli/src/commands/drill.ts'
import { CLI, eventually, NODE_FLAGS, TestRing } from './local-ring.ts'
import { openVault, VaultClient } from './vault-client.ts'

const NODES = [1, 2, 3, 4] as const
const WAIT_MS = 120_000

const folder = mkdtempSync(join(tmpdir(), 'ringwall-recovery-'))
const ring = await TestRing.start({ extra: ['--s3'] })

/** An object of three segments' worth in a bucket, and who may read it. */
async function putObject(): Promise<typeof access> {
  const client = ring.client(1)
  const { text, version } = await client.policy()
  const rule = `  objects:\n    - bucket: 'shop-*'\n      read: [service:shop]\n      write: [service:shop]\n`
  await client.policyApply(text + rule, version)
  const key = JSON.parse(good(ring.cli('vault', 'access-key', 'add', 'service:shop', '-o', 'json'))) as typeof access
  const endpoint = `http://127.0.0.1:${ring.base + 21}`
  const s3 = new S3Client({ endpoint, region: 'us-east-1', forcePathStyle: true, credentials: key })
  await eventually('a bucket', () => s3.send(new CreateBucketCommand({ Bucket: 'shop-files' })).then(() => true), WAIT_MS)
  await s3.send(new PutObjectCommand({ Bucket: 'shop-files', Key: 'photo', Body: Buffer.alloc(3_000_000, 'photo') }))
  return key
}

function good(run: { readonly code: number; readonly stdout: string; readonly stderr: string }): string {
  assert.equal(run.code, 0, run.stderr)
  return run.stdout.trim()
}

/** The rehearsal, beside the living ring, which goes on. */
function drill(): void {
  const images = ['drill', 'restore', '--images', folder]
  const unopened = ring.cliAlone(...images)
  assert.equal(unopened.code, 1)
  assert.match(unopened.stdout, /n4 {2}image of .*\nloss .*\nproblem {3}not opened: 2 more .*\nNOT good/s)
  const shares = [1, 3].flatMap((share) => ['--share', join(folder, 'shares', `share-${share}`)])
  const context = ['--context', join(ring.data, 'operator.json')]
  const env = { ...process.env, AWS_ACCESS_KEY_ID: access.accessKeyId, AWS_SECRET_ACCESS_KEY: access.secretAccessKey }
  const scratch = ['--directory', folder]
  const proofs = ['--secret', 'shop/db', '--object', 'shop-files/photo', '-o', 'json']
  const args = [...NODE_FLAGS, CLI, ...images, ...shares, ...context, ...scratch, ...proofs]
  const run = spawnSync(process.execPath, args, { encoding: 'utf8', env, timeout: 280_000 })
  if (/namespace/.test(run.stderr)) {
    console.log(`the drill was skipped: ${run.stderr.trim()}`)
    return
  }
  assert.equal(run.stderr, '')
  const report = JSON.parse(run.stdout) as DrillReport
  assert.deepEqual(
    [report.restored?.secret?.version, report.restored?.object?.bytes, report.restored?.problems],
    [2, 3_000_000, []],
  )
  assert.ok((report.lostTransactions ?? 0) >= 1, 'what came after the images is lost, and counted')
  assert.deepEqual(
    readdirSync(folder).filter((name) => name.startsWith('ringwall-drill-')),
    [],
    'nothing is left behind',
  )
  console.log(
    `drill: ${((report.rtoMs ?? 0) / 1_000).toFixed(1)} s until a secret and an object were read, ${(report.rpoMs / 1_000).toFixed(1)} s and ${report.lostTransactions} transactions lost; ${report.problems.join('; ') || 'good'}`,
  )
}

let access = { accessKeyId: '', secretAccessKey: '' }
try {
  await openVault(ring)
  access = await putObject()
  const vault = new VaultClient(ring)
  await vault.put('shop/db', 'before the image', 0)
  await ring.client(1).submit({ type: 'transit.create', name: 'shop/cards', use: 'encrypt' })
  const shares = join(folder, 'shares')
  const key = good(ring.cliAlone('node', 'recovery', '--operators', '3', '--needed', '2', '--directory', shares))
  const backup = (node: number): string => {
    const config = join(ring.data, `n${node}`, 'node.yaml')
    return good(ring.cliAlone('recovery', 'backup', '--config', config, '--key', key, '--to', join(folder, `n${node}`)))
  }
  for (const node of NODES) backup(node)
  await vault.put('shop/db', 'in the newest image', 1)
  await eventually(
    'all nodes have it',
    async () => (await Promise.all(NODES.map((node) => ring.client(node).status()))).length === 4,
  )
  const images = NODES.map(backup)
  const imageMs = Date.now()
  await vault.put('shop/db', 'after the image', 2)
  drill()
  const before = (await ring.client(1).keys()).keys.map(({ publicKey }) => publicKey)
  const { ring: name } = await ring.client(1).status()

  const pids = await Promise.all(NODES.map((node) => ring.pid(node)))
  for (const pid of pids) process.kill(pid, 'SIGKILL')
  const lostMs = Date.now()
  await ring.stop()
  for (const node of NODES) rmSync(join(ring.data, `n${node}`), { recursive: true, force: true })
  rmSync(join(ring.data, 'genesis.json'))

  for (const [at, image] of images.entries()) {
    const directory = join(ring.data, `n${at + 1}`)
    const restore = (parts: readonly string[]) =>
      ring.cliAlone(
        'recovery',
        'restore',
        image,
        '--directory',
        directory,
        '--whole-ring',
        ...parts.flatMap((part) => ['--part', part]),
      )
    const parts = [1, 3].map((share) => good(ring.cliAlone('recovery', 'part', image, '--share', join(shares, `share-${share}`))))
    assert.match(restore(parts.slice(0, 1)).stderr, /1 more operators/)
    good(restore(parts))
    ring.start(at + 1, 'local')
  }
  const again = new VaultClient(ring)
  await eventually('a secret opens', async () => (await again.read('shop/db')).toString() === 'in the newest image', WAIT_MS)
  const backMs = Date.now()
  await eventually('a statement is taken', () => again.put('shop/db', 'and it goes on', 2).then(() => true), WAIT_MS)
  await eventually('it is read', async () => (await again.read('shop/db')).toString() === 'and it goes on', WAIT_MS)
  const client = ring.client(1)
  assert.equal((await client.status()).ring, name)
  assert.deepEqual(
    (await client.keys()).keys.map(({ publicKey }) => publicKey),
    before,
  )
  await eventually('all nodes are back', async () => (await again.transitKey('shop/cards')).versions.length === 1, WAIT_MS)
  console.log(
    `lost: what was agreed in the ${((lostMs - imageMs) / 1_000).toFixed(1)} s between the last image and the end (one version of a secret, as planned)`,
  )
  console.log(
    `back: ${((backMs - lostMs) / 1_000).toFixed(1)} s from the end of the last node until a secret opens, two operators of three, four nodes on one machine`,
  )
} finally {
  await ring.destroy()
  rmSync(folder, { recursive: true, force: true })
}
