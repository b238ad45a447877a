/**
 * Decisions of a real CrowdSec (Debian's `crowdsec`, its local API and `cscli`) reach a ring: `cscli decisions add` is refused at the
 * proxy, what the policy calls safe is not, and `cscli decisions delete` lifts it.
 */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { appendFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { application } from '../packages/node/src/test-protect.ts'
import { freePort } from '../tools/free-ports.ts'
import { ask, CLI, eventually } from './local-ring.ts'
import { startProgram, startProtect } from './program.ts'

const isThere = ['crowdsec', 'cscli'].every((name) => spawnSync(name, ['-h']).error === undefined)
const skip = isThere ? false : 'crowdsec and cscli are not installed: apt-get install crowdsec'

test('what CrowdSec bans is denied by the ring, and is lifted when CrowdSec lifts it', { skip }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'ringwall-lapi-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const [port, adminPort, lapiPort] = [await freePort(), await freePort(), await freePort()]

  const cscli = (...args: readonly string[]): string => {
    const { status, stdout, stderr } = spawnSync('cscli', ['-c', join(folder, 'config.yaml'), ...args], { encoding: 'utf8' })
    assert.equal(status, 0, `cscli ${args.join(' ')}: ${stderr}`)
    return stdout
  }
  const credentials = join(folder, 'credentials.yaml')
  for (const name of ['data', 'hub', 'notifications', 'plugins']) mkdirSync(join(folder, name))
  writeFileSync(credentials, '')
  writeFileSync(join(folder, 'profiles.yaml'), 'name: none\nfilters: ["false"]\n')
  writeFileSync(join(folder, 'simulation.yaml'), 'simulation: false\n')
  const settings = {
    common: { daemonize: false, log_media: 'stdout', log_level: 'info', log_dir: folder, working_dir: '.' },
    config_paths: {
      config_dir: folder,
      data_dir: join(folder, 'data'),
      simulation_path: join(folder, 'simulation.yaml'),
      hub_dir: join(folder, 'hub'),
      index_path: join(folder, 'hub/.index.json'),
      notification_dir: join(folder, 'notifications'),
      plugin_dir: join(folder, 'plugins'),
    },
    cscli: { output: 'raw' },
    db_config: { type: 'sqlite', db_path: join(folder, 'data/crowdsec.db'), log_level: 'info' },
    api: {
      client: { credentials_path: credentials },
      server: { listen_uri: `127.0.0.1:${lapiPort}`, profiles_path: join(folder, 'profiles.yaml'), log_level: 'info' },
    },
    prometheus: { enabled: false },
  }
  writeFileSync(join(folder, 'config.yaml'), JSON.stringify(settings))
  writeFileSync(join(folder, 'hub/.index.json'), '{}')
  const url = `http://127.0.0.1:${lapiPort}/`
  cscli('machines', 'add', 'test', '--password', 'a-password-of-a-test', '-f', credentials, '-u', url)
  writeFileSync(join(folder, 'lapi.key'), cscli('bouncers', 'add', 'ringwall', '-o', 'raw'))
  const lapi = spawn('crowdsec', ['-c', join(folder, 'config.yaml'), '-no-cs'], { stdio: ['ignore', 'pipe', 'pipe'] })
  let said = ''
  for (const stream of [lapi.stdout, lapi.stderr]) stream.on('data', (chunk: Buffer) => (said += String(chunk)))
  t.after(() => lapi.kill('SIGTERM'))
  await eventually('CrowdSec’s local API answers', async () => (await ask(lapiPort, '/health')).status === 200).catch(
    (error: Error) => assert.fail(`${error.message}: ${said}`),
  )

  const upstream = await application(t, 'hello')
  const policy = join(folder, 'ringwall.yaml')
  writeFileSync(
    policy,
    `version: 1\nservices: { app: { upstreams: [{ url: "${upstream}" }] } }\ntrustedProxies: ["127.0.0.1"]\ndenials: { safe: ["198.51.100.9"] }\n`,
  )
  const data = join(folder, 'ring')
  const made = await startProtect(upstream, port, data, '--admin', `127.0.0.1:${adminPort}`, '--config', policy)
  await made.end()
  const config = join(data, 'n1/node.yaml')
  appendFileSync(
    config,
    `\nfeeds: [{ kind: crowdsec, name: lapi, url: "${url}", key: ${join(folder, 'lapi.key')}, everyMs: 1000 }]\n`,
  )
  const node = await startProgram(CLI, ['node', '--config', config], 'serving at')
  t.after(() => node.end())
  const statusFor = async (source: string): Promise<number> =>
    (await ask(port, '/', { headers: { 'x-forwarded-for': source } })).status
  const ringwall = (...args: readonly string[]): string => {
    const env = { ...process.env, RINGWALL_CONTEXT: join(data, 'operator.json') }
    return spawnSync(process.execPath, [CLI, ...args], { encoding: 'utf8', env }).stdout
  }

  await eventually('traffic passes', async () => (await statusFor('198.51.100.7')) === 200)
  cscli('decisions', 'add', '--ip', '198.51.100.7', '--duration', '1h', '--reason', 'ssh brute force')
  cscli('decisions', 'add', '--range', '203.0.113.0/24', '--duration', '1h')
  cscli('decisions', 'add', '--ip', '198.51.100.9', '--duration', '1h')
  await eventually('the ban is enforced', async () => (await statusFor('198.51.100.7')) === 403)
  await eventually('a range too', async () => (await statusFor('203.0.113.77')) === 403)
  assert.equal(await statusFor('198.51.100.9'), 200, 'what is safe is denied by nobody')
  assert.match(ringwall('deny', 'ls'), /ip +198\.51\.100\.7 .*node:n1 +crowdsec lapi \(cscli\): ssh brute force/)
  assert.match(ringwall('feed', 'ls'), /lapi .* 2 +1 +0/)

  cscli('decisions', 'delete', '--ip', '198.51.100.7')
  await eventually('it is lifted', async () => (await statusFor('198.51.100.7')) === 200)
  assert.equal(await statusFor('203.0.113.77'), 403)
})
