/**
 * TAXII with parties that are not ours: OASIS's client `taxii2-client` reads from and writes to a node, and a node takes in a collection of
 * OASIS's server `medallion`; objects are made and read by `stix2`. `--install` makes a Python environment with them; `--examples DIR` posts
 * every bundle of a folder, such as OASIS's examples (github.com/oasis-open/cti-stix2-json-schemas).
 */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { after, before, test } from 'node:test'
import { parseArgs } from 'node:util'
import { freePort } from '../tools/free-ports.ts'
import { ask, CLI, eventually } from './local-ring.ts'
import { type Program, startProgram, startProtect } from './program.ts'

const { values: options } = parseArgs({ options: { install: { type: 'boolean' }, examples: { type: 'string' } } })
const folder = mkdtempSync(join(tmpdir(), 'ringwall-taxii-'))

/** The interpreter that has the packages; undefined when there is none. */
function findPython(): string | undefined {
  const has = (python: string): boolean => spawnSync(python, ['-c', 'import stix2, taxii2client, medallion']).status === 0
  const given = process.env.PYTHON ?? 'python3'
  if (has(given)) return given
  if (options.install !== true) return undefined
  const home = join(folder, 'python')
  spawnSync(given, ['-m', 'venv', home], { stdio: 'inherit' })
  const python = join(home, 'bin/python')
  spawnSync(python, ['-m', 'pip', '-q', 'install', 'taxii2-client==2.3.0', 'stix2==3.0.2', 'medallion==3.0.0'], {
    stdio: 'inherit',
  })
  return has(python) ? python : undefined
}

const python = findPython()
const skip =
  python === undefined
    ? 'taxii2-client, stix2 and medallion are not installed: add -- --install, or name a Python that has them in PYTHON'
    : false

/** Runs a script; what it prints is JSON. */
function run(script: string, ...args: readonly string[]): unknown {
  const { status, stdout, stderr } = spawnSync(python as string, ['-c', script, ...args], { encoding: 'utf8' })
  assert.equal(status, 0, stderr)
  return JSON.parse(stdout)
}

const COLLECTION = '91a7b528-80eb-42ed-a74d-c6fbd5a26116'
let [port, adminPort, taxiiPort, medallionPort] = [0, 0, 0, 0]
let node: Program
const upstream = createServer((_, response) => response.end('hello'))
let medallion: ChildProcess
let key = ''
const started = performance.now()

function ringwall(...args: readonly string[]): string {
  const env = { ...process.env, RINGWALL_CONTEXT: join(folder, 'ring/operator.json') }
  const { status, stdout, stderr } = spawnSync(process.execPath, [CLI, ...args], { encoding: 'utf8', env })
  assert.equal(status, 0, stderr)
  return stdout
}

const statusFor = async (source: string): Promise<number> =>
  (await ask(port, '/', { headers: { 'x-forwarded-for': source } })).status

before(async () => {
  if (python === undefined) return
  ;[port, adminPort, taxiiPort, medallionPort] = [await freePort(), await freePort(), await freePort(), await freePort()]
  medallion = startMedallion()
  await new Promise<void>((settle) => upstream.listen(0, '127.0.0.1', settle))
  const url = `http://127.0.0.1:${(upstream.address() as AddressInfo).port}`
  const policy = join(folder, 'ringwall.yaml')
  writeFileSync(
    policy,
    `version: 1\nservices: { app: { upstreams: [{ url: "${url}" }] } }\ntrustedProxies: ["127.0.0.1"]\nindicators: [{ set: isac, mode: deny, confidenceMin: 40 }, { set: inbox, mode: deny }]\n`,
  )
  const data = join(folder, 'ring')
  const more = ['--admin', `127.0.0.1:${adminPort}`, '--config', policy]
  await (await startProtect(url, port, data, ...more)).end()
  const secret = join(folder, 'isac.secret')
  writeFileSync(secret, 'Password0\n')
  appendFileSync(
    join(data, 'n1/node.yaml'),
    `
indicators:
  - { name: inbox, format: inbox }
  - name: isac
    format: taxii
    url: http://127.0.0.1:${medallionPort}/trustgroup1/collections/${COLLECTION}/
    user: admin
    secret: ${secret}
    everyMs: 1000
    trust: 50
taxii: { listen: "127.0.0.1:${taxiiPort}", share: [isac] }
`,
  )
  node = await startProgram(CLI, ['node', '--config', join(data, 'n1/node.yaml')], 'serving at')
  key = ringwall('taxii', 'add', 'partner', '--write', 'inbox', '--yes').trim()
})

after(async () => {
  await node?.end()
  medallion?.kill('SIGKILL')
  upstream.close()
  rmSync(folder, { recursive: true, force: true })
  process.stdout.write(`${((performance.now() - started) / 1_000).toFixed(0)} s\n`)
})

/** With 25 indicators, of which it gives ten at a time. */
function startMedallion(): ChildProcess {
  const atMs = Date.now() - 3_600_000
  const objects = Array.from({ length: 25 }, (_, index) => ({
    type: 'indicator',
    spec_version: '2.1',
    id: `indicator--00000000-0000-4000-8000-0000000000${String(index).padStart(2, '0')}`,
    created: new Date(atMs).toISOString(),
    modified: new Date(atMs).toISOString(),
    name: `C2 ${index}`,
    pattern: `[ipv4-addr:value = '198.51.100.${index}']`,
    pattern_type: 'stix',
    valid_from: new Date(atMs).toISOString(),
    // By half: the last is not sure enough for the policy.
    confidence: index === 24 ? 70 : 90,
  }))
  const manifest = objects.map(({ id, modified }, index) => ({
    id,
    date_added: new Date(atMs + index * 1_000).toISOString(),
    version: modified,
    media_type: 'application/stix+json;version=2.1',
  }))
  const collection = {
    id: COLLECTION,
    title: 'ISAC',
    can_read: true,
    can_write: true,
    media_types: ['application/stix+json;version=2.1'],
  }
  const root = `http://127.0.0.1:${medallionPort}/trustgroup1/`
  const dataFile = join(folder, 'medallion-data.json')
  writeFileSync(
    dataFile,
    JSON.stringify({
      '/discovery': { title: 'ISAC', default: root, api_roots: [root] },
      trustgroup1: {
        information: { title: 'trust group', versions: ['application/taxii+json;version=2.1'], max_content_length: 9_765_625 },
        status: [],
        collections: [{ ...collection, objects, manifest }],
      },
    }),
  )
  const config = join(folder, 'medallion.json')
  const backend = { module: 'medallion.backends.memory_backend', module_class: 'MemoryBackend', filename: dataFile }
  writeFileSync(config, JSON.stringify({ backend, users: { admin: 'Password0' }, taxii: { max_page_size: 10 } }))
  return spawn(python as string, ['-m', 'medallion.scripts.run', '--port', String(medallionPort), config], { stdio: 'ignore' })
}

test('a collection of medallion is taken in page by page, and what is added and revoked there counts here', {
  skip,
}, async () => {
  await eventually('the first of the collection is refused', async () => (await statusFor('198.51.100.0')) === 403, 60_000)
  assert.equal(await statusFor('198.51.100.23'), 403)
  assert.equal(await statusFor('198.51.100.24'), 200, 'half of 70 is less than 40')
  assert.match(ringwall('indicator', 'ls'), /isac +taxii +25 /)
  const change = `
import sys, stix2
from taxii2client.v21 import Collection
collection = Collection(sys.argv[1], user="admin", password="Password0")
fresh = stix2.Indicator(name="new", pattern="[ipv4-addr:value = '203.0.113.9']", pattern_type="stix", confidence=90)
gone = stix2.parse(collection.get_object("indicator--00000000-0000-4000-8000-000000000000")["objects"][0])
status = collection.add_objects({"objects": [__import__("json").loads(o.serialize()) for o in (fresh, gone.revoke())]})
print('"%s"' % status.status)
`
  assert.equal(run(change, `http://127.0.0.1:${medallionPort}/trustgroup1/collections/${COLLECTION}/`), 'complete')
  await eventually('what was added is refused', async () => (await statusFor('203.0.113.9')) === 403, 30_000)
  await eventually('what was revoked passes', async () => (await statusFor('198.51.100.0')) === 200, 30_000)
})

const CLIENT = `
import sys, json, stix2
from taxii2client.v21 import Server, Collection, as_pages
url, user, key = sys.argv[1:4]
server = Server(url + "/taxii2/", user=user, password=key)
root = server.api_roots[0]
names = {c.alias if hasattr(c, "alias") else c._raw["alias"]: c for c in root.collections}
inbox = names["inbox"]
made = [stix2.Indicator(name="C2 %d" % i, pattern="[ipv4-addr:value = '192.0.2.%d']" % i, pattern_type="stix", confidence=80) for i in range(7)]
status = inbox.add_objects({"objects": [json.loads(o.serialize()) for o in made] + [{"type": "x"}]})
again = root.get_status(status.id)
pages = [p for p in as_pages(inbox.get_objects, per_request=3)]
read = [stix2.parse(o) for p in pages for o in p["objects"]]
newer = made[0].new_version(name="renamed")
inbox.add_objects({"objects": [json.loads(newer.serialize())]})
versions = inbox.object_versions(made[0].id)["versions"]
latest = inbox.get_object(made[0].id)["objects"]
everything = inbox.get_objects(version="all", type="indicator")["objects"]
since = inbox.get_manifest(added_after=inbox.get_manifest()["objects"][-2]["date_added"])["objects"]
inbox.delete_object(made[1].id)
left = len(inbox.get_objects()["objects"])
denials = [stix2.parse(o) for o in names["denials"].get_objects()["objects"]]
shared = [stix2.parse(o) for o in names["isac"].get_objects()["objects"]]
def refused(act):
    try:
        act()
        return 0
    except Exception as error:
        return error.response.status_code if hasattr(error, "response") else type(error).__name__
print(json.dumps({
  "title": root.title, "collections": sorted(names), "writes": [n for n in sorted(names) if names[n].can_write],
  "status": [again.status, again.success_count, again.failure_count], "pages": [len(p["objects"]) for p in pages],
  "same": [o.serialize() for o in read] == [o.serialize() for o in made], "versions": len(versions),
  "latest": [o["name"] for o in latest], "everything": len(everything), "since": [o["id"] == made[0].id for o in since], "left": left,
  "denials": [[o.pattern, o.name] for o in denials if o.type == "indicator"], "shared": len(shared),
  "wrong": [refused(lambda: Server(url + "/taxii2/", user=user, password="x").title),
            refused(lambda: names["denials"].add_objects({"objects": [json.loads(made[0].serialize())]}))],
}))
`

test('taxii2-client discovers, posts, pages, reads versions and deletes; what it posts is refused as traffic', {
  skip,
}, async () => {
  ringwall('deny', 'add', 'cidr', '203.0.113.64/26', '--ttl', '10m', '--reason', 'scanners')
  const said = run(CLIENT, `http://127.0.0.1:${taxiiPort}`, 'partner', key) as Readonly<Record<string, unknown>>
  assert.match(String(said.title), /^Ringwall ring /)
  const { title: _, shared, ...rest } = said
  assert.ok(Number(shared) > 20, String(shared))
  assert.deepEqual(rest, {
    collections: ['denials', 'inbox', 'isac'],
    writes: ['inbox'],
    status: ['complete', 7, 1],
    pages: [3, 3, 1],
    same: true,
    versions: 2,
    latest: ['renamed'],
    everything: 8,
    since: [true],
    left: 6,
    denials: [["[ipv4-addr:value = '203.0.113.64/26']", 'scanners']],
    // The client itself does not try what the collection says that it may not.
    wrong: [401, 'AccessError'],
  })
  await eventually('what was posted is refused', async () => (await statusFor('192.0.2.5')) === 403, 20_000)
  assert.equal(await statusFor('192.0.2.1'), 200, 'it was deleted')
})

test('what was posted is there when the node comes back', { skip }, async () => {
  node.process.kill('SIGKILL')
  await new Promise((settle) => node.process.once('exit', settle))
  node = await startProgram(CLI, ['node', '--config', join(folder, 'ring/n1/node.yaml')], 'serving at')
  await eventually('what was posted is refused', async () => (await statusFor('192.0.2.5')) === 403, 20_000)
  assert.equal(await statusFor('198.51.100.23'), 403)
})

const EXAMPLES = `
import sys, json
from taxii2client.v21 import Server
url, user, key, *files = sys.argv[1:]
server = Server(url + "/taxii2/", user=user, password=key)
inbox = [c for c in server.api_roots[0].collections if c.can_write][0]
said = {"objects": 0, "taken": 0, "failures": []}
for file in files:
    bundle = json.load(open(file))
    objects = bundle["objects"] if bundle.get("type") == "bundle" else [bundle]
    status = inbox.add_objects({"objects": objects})
    said["objects"] += len(objects)
    said["taken"] += status.success_count
    said["failures"] += [[file.split("/")[-1], f.get("id"), f.get("message")] for f in status.failures]
print(json.dumps(said))
`

const noExamples = options.examples === undefined ? 'no folder of bundles is named: -- --examples DIR' : false

test('every object of the examples is taken', { skip: skip === false ? noExamples : skip }, () => {
  const where = resolve(options.examples as string)
  const files = readdirSync(where, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.json'))
    .map((name) => join(where, name))
    .filter((file) => 'type' in (JSON.parse(readFileSync(file, 'utf8')) as object))
  const said = run(EXAMPLES, `http://127.0.0.1:${taxiiPort}`, 'partner', key, ...files) as {
    readonly objects: number
    readonly taken: number
    readonly failures: readonly unknown[]
  }
  process.stdout.write(`${files.length} files, ${said.objects} objects, ${said.taken} taken\n`)
  assert.deepEqual(said.failures, [])
  assert.ok(said.taken > 0)
})
