/**
 * `npm run e2e:objects -- --repair-gb 1`: the time that a ring of five with its usual settings takes to be whole again, without a command, after one
 * node is lost for good with its disk, while they hold objects of so many gigabytes together; and what `ringwall vault status` and the console's page of
 * objects say meanwhile.
 */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { CreateBucketCommand, PutObjectCommand, type S3Client } from '@aws-sdk/client-s3'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'
import { mendedOn, verdict } from '../packages/console/src/shards.ts'
import { eventually } from './local-ring.ts'
import { ObjectRing } from './objects-scene.ts'

const Bucket = 'shop-repair'
const OBJECT_BYTES = 64_000_000
const REPAIR_MS_MAX = 900_000

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
    // Of five nodes one has no shard of an object, to take that of the one that is lost.
    const operator = ring.client(1)
    const { text, version } = await operator.policy()
    const policy = text.replace("- bucket: 'shop-*'", "- bucket: 'shop-*'\n      shards: 2/4")
    assert.notEqual(policy, text)
    await operator.submit({ type: 'policy.set', policy, expectVersion: version })
    await eventually('a bucket', async () => (await s3.send(new CreateBucketCommand({ Bucket }))).Location !== undefined, 60_000)
    const count = Math.ceil((gigabytes * 1_000_000_000) / OBJECT_BYTES)
    const body = randomBytes(OBJECT_BYTES)
    for (let at = 0; at < count; at += 1) await put(s3, `object-${at}`, body)
    const lost = scene.shardFiles(5).length
    out(`${count} objects of 64 MB put; n5 holds ${lost} of their ${count * 4} shards`)
    assert.ok(lost > 0)

    const status = (node: number) => ring.client(node).vaultObjects()
    const before = await Promise.all(left.map(status))
    await ring.kill(5)
    const began = performance.now()
    // With the settings that are usual it is lost after three minutes.
    await eventually('n5 counts as lost', async () => (await status(1)).away.includes('n5'), 300_000)
    const lostAfterMs = performance.now() - began
    let saidAtMs = began
    const seen = new Set<number>()
    for (;;) {
      const { nodes, versions } = await ring.client(1).vaultShards()
      for (const node of nodes) seen.add(mendedOn(node)?.bytes ?? 0)
      const [files, now] = [left.reduce((sum, node) => sum + scene.shardFiles(node).length, 0), performance.now()]
      if (files >= count * 4) break
      if (now - saidAtMs > 5_000) {
        saidAtMs = now
        out(
          `after ${((now - began) / 1_000).toFixed(0)} s, ${files} of ${count * 4} shards are there\n${ring.cli('vault', 'status').stdout}console: ${verdict(nodes, versions).text}`,
        )
      }
      assert.ok(now - began < REPAIR_MS_MAX, `not whole after ${REPAIR_MS_MAX / 1_000} s`)
      await sleep(250)
    }
    assert.ok(seen.size > 2, 'the console showed how far repairs were')
    const seconds = (performance.now() - began) / 1_000
    const after = await Promise.all(left.map(status))
    const bytes = after.reduce((sum, { repairedBytes }, at) => sum + repairedBytes - (before[at]?.repairedBytes ?? 0), 0)
    out(
      `whole again ${seconds.toFixed(0)} s after n5 was killed, of which ${(lostAfterMs / 1_000).toFixed(0)} s until it counted as lost (the aim: 300 s for 1 GB); ` +
        `${(bytes / 1e6).toFixed(0)} MB made anew by four nodes`,
    )
  } finally {
    await scene.destroy()
  }
}
