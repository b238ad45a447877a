/**
 * `npm run e2e:rclone`: rclone, as Debian has it, against a real ring of four processes: trees copied, checked and synchronized, ranges, uploads in parts
 * and of unknown length, copies and moves on the server, times, links, versions, deletions.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { eventually } from './local-ring.ts'
import { bytesOf, md5, ObjectRing } from './objects-scene.ts'

const out = (text: string): void => void process.stdout.write(`${text}\n`)
const version = spawnSync('rclone', ['version'], { encoding: 'utf8' })
if (version.status !== 0) {
  out('skipped: rclone is not installed (Debian: apt-get install rclone)')
  process.exit(0)
}
const RUN_MS_MAX = 280_000
const folder = mkdtempSync(join(tmpdir(), 'ringwall-rclone-'))
const scene = await ObjectRing.start()
const { accessKeyId, secretAccessKey } = scene.accessKey()

// Nothing of this machine's settings: proxies and authorities are for other places.
const env: Record<string, string | undefined> = {
  PATH: process.env.PATH,
  HOME: folder,
  RCLONE_CONFIG: join(folder, 'none.conf'),
  RCLONE_CONFIG_RING_TYPE: 's3',
  RCLONE_CONFIG_RING_PROVIDER: 'Other',
  RCLONE_CONFIG_RING_ACCESS_KEY_ID: accessKeyId,
  RCLONE_CONFIG_RING_SECRET_ACCESS_KEY: secretAccessKey,
  RCLONE_CONFIG_RING_REGION: 'us-east-1',
  RCLONE_CONFIG_RING_ENDPOINT: `http://127.0.0.1:${scene.port(1)}`,
}

function run(args: readonly string[], input?: Buffer): Buffer {
  const ran = spawnSync('rclone', args, { env, timeout: RUN_MS_MAX, maxBuffer: 256_000_000, ...(input ? { input } : {}) })
  assert.equal(
    ran.status,
    0,
    `rclone ${args.join(' ')}: ${ran.stderr?.toString('utf8').slice(-2_000)}${ran.error?.message ?? ''}`,
  )
  return ran.stdout
}

const rclone = (...args: readonly string[]): string => run(args).toString('utf8')
const lines = (text: string): readonly string[] => text.split('\n').filter((line) => line !== '')

try {
  out((version.stdout ?? '').split('\n')[0] ?? '')
  const tree = join(folder, 'tree')
  mkdirSync(join(tree, 'deep', 'er'), { recursive: true })
  const big = bytesOf(40_000_000)
  for (const [name, content] of [
    ['empty', Buffer.alloc(0)],
    ['a name + with % and & and ünïcode', bytesOf(1_234)],
    ['deep/one', bytesOf(70_000)],
    ['deep/er/two', bytesOf(5_000_000)],
    ['big', big],
  ] as const)
    writeFileSync(join(tree, name), content)

  await eventually('a bucket', () => rclone('mkdir', 'ring:shop-tree') === '', 60_000)
  rclone('copy', tree, 'ring:shop-tree/t', '--s3-upload-cutoff', '5M', '--s3-chunk-size', '5M', '--s3-upload-concurrency', '3')
  rclone('check', tree, 'ring:shop-tree/t')
  rclone('check', '--download', tree, 'ring:shop-tree/t')
  assert.equal(lines(rclone('lsf', '-R', '--files-only', 'ring:shop-tree')).length, 5)
  assert.match(rclone('lsd', 'ring:'), /shop-tree/)
  const listed = JSON.parse(rclone('lsjson', '--hash', 'ring:shop-tree/t/deep/one')) as { Hashes?: { md5?: string } }[]
  assert.equal(listed[0]?.Hashes?.md5, md5(readFileSync(join(tree, 'deep/one'))))
  out('a tree was copied, in parts too, listed, and compared by hashes and by content')

  for (const [offset, count] of [
    [0, 1],
    [4_194_300, 10],
    [39_999_990, 10],
    [12_345_678, 9_000_000],
  ] as const) {
    const part = run(['cat', '--offset', String(offset), '--count', String(count), 'ring:shop-tree/t/big'])
    assert.ok(part.equals(big.subarray(offset, offset + count)), `${offset} ${count}`)
  }
  assert.ok(run(['cat', '--tail', '7', 'ring:shop-tree/t/big']).equals(big.subarray(-7)))
  assert.ok(
    run(['cat', '--multi-thread-streams', '4', '--multi-thread-cutoff', '5M', 'ring:shop-tree/t/big']).equals(big),
    'in streams beside each other',
  )
  out('ranges were read')

  run(['rcat', '--s3-chunk-size', '5M', '--streaming-upload-cutoff', '1M', 'ring:shop-tree/streamed'], big)
  assert.ok(run(['cat', 'ring:shop-tree/streamed']).equals(big))
  rclone('copyto', 'ring:shop-tree/streamed', 'ring:shop-tree/copied', '--s3-copy-cutoff', '10M', '--s3-chunk-size', '10M')
  assert.ok(run(['cat', 'ring:shop-tree/copied']).equals(big))
  rclone('moveto', 'ring:shop-tree/t/deep/one', 'ring:shop-tree/t/moved')
  rclone('touch', '-t', '2020-02-02T02:02:02', 'ring:shop-tree/t/moved')
  assert.match(rclone('lsl', 'ring:shop-tree/t/moved'), /70000 2020-02-02 02:02:02/)
  assert.deepEqual(lines(rclone('lsf', 'ring:shop-tree/t')), [
    'a name + with % and & and ünïcode',
    'big',
    'deep/',
    'empty',
    'moved',
  ])
  const link = rclone('link', '--expire', '1m', 'ring:shop-tree/t/moved').trim()
  assert.equal((await (await fetch(link)).arrayBuffer()).byteLength, 70_000)
  out('uploads of unknown length, copies and moves on the server, times and presigned links')

  writeFileSync(join(tree, 'new'), 'new')
  writeFileSync(join(tree, 'deep/er/two'), bytesOf(5_000_001))
  rmSync(join(tree, 'empty'))
  rclone('sync', tree, 'ring:shop-tree/t')
  rclone('check', tree, 'ring:shop-tree/t')
  const back = join(folder, 'back')
  rclone('sync', 'ring:shop-tree/t', back)
  rclone('check', '--download', back, tree)
  assert.equal(lines(rclone('lsf', '-R', '--files-only', 'ring:shop-tree/t')).length, 5)
  out('synchronized there and back; what was removed is removed')

  rclone('mkdir', 'ring:shop-versions')
  rclone('backend', 'versioning', 'ring:shop-versions', 'Enabled')
  assert.match(rclone('backend', 'versioning', 'ring:shop-versions'), /Enabled/)
  for (const text of ['first', 'second']) run(['rcat', 'ring:shop-versions/v.txt'], Buffer.from(text))
  rclone('deletefile', 'ring:shop-versions/v.txt')
  assert.deepEqual(lines(rclone('lsf', 'ring:shop-versions')), [])
  const old = lines(rclone('lsf', '--s3-versions', 'ring:shop-versions'))
  assert.equal(old.length, 2, old.join())
  const contents = old.map((name) => rclone('cat', '--s3-versions', `ring:shop-versions/${name}`)).sort()
  assert.deepEqual(contents, ['first', 'second'])
  rclone('backend', 'cleanup-hidden', 'ring:shop-versions')
  assert.deepEqual(lines(rclone('lsf', '--s3-versions', 'ring:shop-versions')), [])
  out('versions: hidden by a deletion, listed, read, and cleaned up')

  assert.match(rclone('backend', 'list-multipart-uploads', 'ring:shop-tree'), /\{/)
  rclone('cleanup', 'ring:shop-tree')
  rclone('delete', 'ring:shop-tree/t', '--include', 'big')
  assert.ok(!lines(rclone('lsf', 'ring:shop-tree/t')).includes('big'))
  for (const bucket of ['shop-tree', 'shop-versions']) rclone('purge', `ring:${bucket}`)
  assert.equal(rclone('lsd', 'ring:'), '')
  for (const node of [1, 2, 3, 4]) await eventually(`n${node} erased all`, () => scene.shardFiles(node).length === 0, 60_000)
  out('deleted and purged: no shard is left on any disk')
} finally {
  await scene.destroy()
  rmSync(folder, { recursive: true, force: true })
}
