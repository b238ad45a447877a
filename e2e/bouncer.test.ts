/**
 * A real bouncer of CrowdSec (Debian's `crowdsec-custom-bouncer`) pulls from a node: an operator's denial reaches the bouncer's script,
 * and so does its lifting.
 */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { freePort } from '../tools/free-ports.ts'
import { CLI } from './local-ring.ts'
import { startProtect } from './program.ts'

const BOUNCER = 'crowdsec-custom-bouncer'
const isThere = spawnSync(BOUNCER, ['-version']).error === undefined
const skip = isThere ? false : `${BOUNCER} is not installed: apt-get install ${BOUNCER}`

test('a denial reaches the script of a real bouncer, and its lifting too', { skip }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'ringwall-bouncer-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const [port, adminPort] = [await freePort(), await freePort()]
  const data = join(folder, 'data')
  const node = await startProtect('http://127.0.0.1:9', port, data, '--admin', `127.0.0.1:${adminPort}`)
  t.after(() => node.end())
  const ringwall = (...args: readonly string[]): string => {
    const env = { ...process.env, RINGWALL_CONTEXT: join(data, 'operator.json') }
    const { status, stdout, stderr } = spawnSync(process.execPath, [CLI, ...args], { encoding: 'utf8', env })
    assert.equal(status, 0, stderr)
    return stdout
  }
  const key = ringwall('bouncer', 'add', 'custom', '--yes').trim()

  const [script, told, config] = [join(folder, 'script.sh'), join(folder, 'told.txt'), join(folder, 'bouncer.yaml')]
  writeFileSync(script, `#!/bin/sh\necho "$1 $2 $3 $4" >> ${told}\n`)
  chmodSync(script, 0o755)
  const settings = {
    bin_path: script,
    feed_via_stdin: false,
    total_retries: 0,
    piddir: `${folder}/`,
    update_frequency: '1s',
    cache_retention_duration: '1s',
    daemonize: false,
    log_mode: 'stdout',
    log_dir: `${folder}/`,
    log_level: 'info',
    api_url: `http://127.0.0.1:${adminPort}/`,
    api_key: key,
    prometheus: { enabled: false, listen_addr: '127.0.0.1', listen_port: '0' },
  }
  writeFileSync(config, JSON.stringify(settings))
  const bouncer = spawn(BOUNCER, ['-c', config], { stdio: ['ignore', 'pipe', 'pipe'] })
  let said = ''
  for (const stream of [bouncer.stdout, bouncer.stderr]) stream.on('data', (chunk: Buffer) => (said += String(chunk)))
  t.after(() => bouncer.kill('SIGTERM'))

  const heard = async (line: RegExp): Promise<string> => {
    for (const end = Date.now() + 20_000; Date.now() < end; ) {
      const text = existsSync(told) ? readFileSync(told, 'utf8') : ''
      if (line.test(text)) return text
      await new Promise((wake) => setTimeout(wake, 100))
    }
    assert.fail(`the script was not told ${line}; the bouncer says: ${said}`)
  }

  ringwall('deny', 'add', 'ip', '203.0.113.7', '--ttl', '10m', '--reason', 'credential stuffing')
  await heard(/^add 203\.0\.113\.7 [0-9]+ credential stuffing$/m)
  assert.match(ringwall('bouncer', 'ls'), /custom .*stream .*crowdsec-custom-bouncer/)
  ringwall('deny', 'rm', '203.0.113.7')
  assert.match(await heard(/^del 203\.0\.113\.7 /m), /^add 203\.0\.113\.7 /m)
})
