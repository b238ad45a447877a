/**
 * `npm run e2e:objects -- --repair-gb 1`: the time that a ring of five takes to be whole again, without a command, after one node is lost for good
 * with its disk while it held a shard of objects of so many gigabytes together; and what `ringwall vault status` says meanwhile.
 */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { appendFileSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { CreateBucketCommand, PutObjectCommand, type S3Client } from '@aws-sdk/client-s3'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'
import { eventually } from './local-ring.ts'
import { ObjectRing } from './objects-scene.ts'

const Bucket = 'shop-repair'
const OBJECT_BYTES = 64_000_000
/** How soon a node counts as lost, here: three minutes are usual. What is measured begins then. */
const AWAY_MS = 5_000
const REPAIR_MS_MAX = 300_000

const out = (text: string): void => void process.stdout.write(`${text}\n`)

async function put(s3: S3Client, Key: string, body: Buffer): Promise<void> {
  const url = await getSignedUrl(s3, new PutObjectCommand({ Bucket, Key }), { expiresIn: 3_600 })
  await new Promise<void>((settle, refuse) => {
    const call = request(url, { method: 'PUT', headers: { 'content-length': body.length } }, (response) => {
      response.resume()
      response.once('end', () => (response.statusCode === 200 ? settle() : refuse(new Error(`answered ${response.statusCode}`))))
    })
    call.once('error', refuse)
    call.end(body)
  })
}

/** @param gigabytes Of objects, before they are cut into shards. */
export async function repairAfterLoss(gigabytes: number): Promise<void> {
  const scene = await ObjectRing.start('', 5)
  const { ring } = scene
  try {
    const left = [1, 2, 3, 4]
    const s3 = scene.s3(1, scene.accessKey())
    for (const node of [1, 2, 3, 4, 5]) {
      await ring.kill(node)
      appendFileSync(join(ring.data, `n${node}`, 'node.yaml'), `\nobjects: { awayMs: ${AWAY_MS} }\n`)
      await ring.restart(node)
    }
    await eventually('a bucket', async () => (await s3.send(new CreateBucketCommand({ Bucket }))).Location !== undefined, 60_000)
    const count = Math.ceil((gigabytes * 1_000_000_000) / OBJECT_BYTES)
    const body = randomBytes(OBJECT_BYTES)
    for (let at = 0; at < count; at += 1) await put(s3, `object-${at}`, body)
    const lost = scene.shardFiles(5).length
    out(`${count} objects of 64 MB put; n5 holds ${lost} of their ${count * 4} shards`)
    assert.ok(lost > 0)

    await ring.kill(5)
    const status = (node: number) => ring.client(node).vaultObjects()
    await eventually('n5 counts as lost', async () => (await status(1)).away.includes('n5'), 60_000)
    const began = performance.now()
    const before = await Promise.all(left.map(status))
    let saidAtMs = began
    for (;;) {
      const [files, now] = [left.reduce((sum, node) => sum + scene.shardFiles(node).length, 0), performance.now()]
      if (files >= count * 4) break
      if (now - saidAtMs > 5_000) {
        saidAtMs = now
        out(
          `after ${((now - began) / 1_000).toFixed(0)} s, ${files} of ${count * 4} shards are there\n${ring.cli('vault', 'status').stdout}`,
        )
      }
      assert.ok(now - began < REPAIR_MS_MAX, `not whole after ${REPAIR_MS_MAX / 1_000} s`)
      await sleep(250)
    }
    const seconds = (performance.now() - began) / 1_000
    const after = await Promise.all(left.map(status))
    const bytes = after.reduce((sum, { repairedBytes }, at) => sum + repairedBytes - (before[at]?.repairedBytes ?? 0), 0)
    out(
      `whole again ${seconds.toFixed(1)} s after n5 counted as lost: ${(bytes / 1e6).toFixed(0)} MB made anew on four nodes (the aim: 300 s for 1 GB)`,
    )
  } finally {
    await scene.destroy()
  }
}
