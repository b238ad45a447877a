import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { installCrs } from './install-crs.ts'
import { ArchiveInvalid, readTar } from './tar.ts'

const folder = mkdtempSync(join(tmpdir(), 'ringwall-crs-'))
after(() => rmSync(folder, { recursive: true, force: true }))

/** A header and its data, as ustar writes them. */
function entry(name: string, data: string, type = '0', more: (header: Buffer) => void = () => {}): Buffer {
  const header = Buffer.alloc(512)
  const bytes = Buffer.from(data)
  header.write(name.slice(0, 100), 0, 'latin1')
  header.write('0000644\0', 100)
  header.write(`${bytes.length.toString(8).padStart(11, '0')}\0`, 124)
  header.write(' '.repeat(8), 148)
  header.write(type, 156)
  header.write('ustar\0', 257)
  more(header)
  const sum = header.reduce((all, byte) => all + byte, 0)
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
  return Buffer.concat([header, bytes, Buffer.alloc((512 - (bytes.length % 512)) % 512)])
}

const END = Buffer.alloc(1_024)
const tarOf = (...entries: readonly Buffer[]): Buffer => Buffer.concat([...entries, END])
const sha = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')

const RULES = {
  'crs-setup.conf.example': 'SecAction "id:900990,phase:1,pass,nolog,setvar:tx.crs_setup_version=470"\n',
  'rules/REQUEST-901-INITIALIZATION.conf':
    'SecComponentSignature "OWASP_CRS/4.7.0"\nSecRule ARGS "@pmFromFile words.data" "id:901001,phase:2,deny,msg:\'a word\'"\n',
  'rules/words.data': 'wombat\n',
  LICENSE: 'a licence\n',
  'tests/evil.sh': 'echo no\n',
}
const release = (more: readonly Buffer[] = [], rules: Readonly<Record<string, string>> = RULES): Buffer =>
  gzipSync(tarOf(...Object.entries(rules).map(([name, data]) => entry(`coreruleset-4.7.0/${name}`, data)), ...more))

let count = 0
function place(archive: Buffer): { readonly from: string; readonly to: string; readonly sha256: string } {
  count += 1
  const from = join(folder, `${count}.tar.gz`)
  writeFileSync(from, archive)
  return { from, to: join(folder, `crs${count}`), sha256: sha(archive) }
}
const install = (archive: Buffer, more: Partial<Parameters<typeof installCrs>[0]> = {}) =>
  installCrs({ version: '4.7.0', dryRun: false, ...place(archive), ...more })

test('a release is installed: rules, data, configuration and licence, nothing else', async () => {
  const { folder: into, signature, rules, files, kept } = await install(release())
  assert.deepEqual([signature, rules, files, kept], ['OWASP_CRS/4.7.0', 2, 4, true])
  assert.deepEqual(readdirSync(into).sort(), ['LICENSE', 'crs-setup.conf.example', 'rules'])
  assert.equal(readFileSync(join(into, 'rules', 'words.data'), 'utf8'), 'wombat\n')
  await assert.rejects(install(release(), { to: into }), /exists already/)
})

test('a dry run checks everything and keeps nothing', async () => {
  const { folder: into, kept } = await install(release(), { dryRun: true })
  assert.equal(kept, false)
  assert.equal(existsSync(into), false)
})

const bad: readonly [string, () => Buffer, Partial<Parameters<typeof installCrs>[0]>, RegExp][] = [
  ['another archive than the checksum says', release, { sha256: 'a'.repeat(64) }, /its SHA-256 is [0-9a-f]{64}, not aaaa/],
  ['no checksum', release, { sha256: '' }, /--sha256: expected the 64 hex digits/],
  ['another version than asked for', release, { version: '4.8.0' }, /holds OWASP_CRS\/4\.7\.0, not version 4\.8\.0/],
  ['a version that is a path', release, { version: '../4' }, /expected a release such as/],
  ['a name that climbs out', () => release([entry('coreruleset-4.7.0/../../rules/x.conf', 'x')]), {}, /leads out of the archive/],
  ['an absolute name', () => release([entry('/etc/rules/x.conf', 'x')]), {}, /leads out of the archive/],
  ['a file twice', () => release([entry('other/rules/words.data', 'x')]), {}, /words\.data occurs twice/],
  ['no rules', () => release([], { 'README.md': 'x' }), {}, /does not hold the Core Rule Set/],
  [
    'rules that do not compile',
    () => release([], { ...RULES, 'rules/X.conf': 'SecRule ARGS "@rx (" "id:1"\n' }),
    {},
    /X\.conf:1:\d+: /,
  ],
  ['no archive', () => Buffer.from('hello'), {}, /no gzip archive/],
  [
    'an archive that is cut',
    () => gzipSync(tarOf(entry('a/rules/x.conf', 'y'.repeat(600))).subarray(0, 1_100)),
    {},
    /ends within a file/,
  ],
  ['a bomb', () => gzipSync(Buffer.alloc(300 * 1_048_576)), {}, /no gzip archive of at most/],
]
for (const [name, archive, more, message] of bad) {
  test(`refused, and nothing left behind: ${name}`, async () => {
    const before = readdirSync(folder).length
    await assert.rejects(install(archive(), more), message)
    assert.equal(readdirSync(folder).length, before + 1, 'the archive alone')
  })
}

test('links are not followed and not made', async () => {
  const link = entry('coreruleset-4.7.0/rules/passwd.data', '', '2', (header) => header.write('/etc/passwd', 157))
  const { folder: into } = await install(release([link]))
  assert.equal(existsSync(join(into, 'rules', 'passwd.data')), false)
})

test('an archive is fetched from a URL; one that is not there is told', async () => {
  const archive = release()
  const server = createServer((request, response) => {
    response.statusCode = request.url === '/v.tar.gz' ? 200 : 404
    response.end(request.url === '/v.tar.gz' ? archive : 'no')
  })
  await new Promise<void>((settle) => server.listen(0, '127.0.0.1', settle))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  try {
    assert.equal((await install(archive, { from: `${url}/v.tar.gz` })).kept, true)
    await assert.rejects(install(archive, { from: `${url}/other` }), /HTTP 404/)
  } finally {
    server.close()
  }
  await assert.rejects(install(archive, { from: `${url}/v.tar.gz` }), /cannot be fetched .*--from FILE/)
})

test('what tar writes is read: long names, pax, folders', {
  skip: spawnSync('tar', ['--version']).status === 0 ? false : 'no tar here',
}, () => {
  const root = mkdtempSync(join(folder, 'tar-'))
  const deep = join('a'.repeat(60), 'b'.repeat(60), 'c'.repeat(60))
  mkdirSync(join(root, deep), { recursive: true })
  writeFileSync(join(root, deep, 'é.txt'), 'deep')
  writeFileSync(join(root, 'one.txt'), 'x'.repeat(1_000))
  for (const format of ['ustar', 'pax', 'gnu']) {
    const { stdout, status } = spawnSync('tar', ['--format', format, '-cf', '-', '.'], { cwd: root, maxBuffer: 1e8 })
    assert.equal(status, 0, format)
    const files = new Map([...readTar(stdout, 100)].map(({ path, bytes }) => [path, bytes.toString('utf8')]))
    assert.deepEqual(files.get(`${deep}/é.txt`), 'deep', format)
    assert.equal(files.get('one.txt')?.length, 1_000)
  }
})

test('property: any bytes are read or refused; changed archives never give a name that climbs', () => {
  const whole = tarOf(entry('a/rules/x.conf', 'x'.repeat(700)), entry('a/y', 'y'))
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { maxLength: 20 }),
      fc.nat(whole.length),
      (changes, cut) => {
        const bytes = Buffer.from(whole.subarray(0, cut))
        for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value
        try {
          for (const { path } of readTar(bytes, 10)) assert.ok(!path.startsWith('/') && !path.split('/').includes('..'))
        } catch (error) {
          assert.ok(error instanceof ArchiveInvalid, String(error))
        }
      },
    ),
  )
})
