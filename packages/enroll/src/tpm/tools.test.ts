/** With a software TPM, where there is one. */
import assert from 'node:assert/strict'
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { encodeBase64url } from '@ringwall/ring/tx'
import { makeCredential } from './credential.ts'
import { TpmDevice } from './tools.ts'
import { readQuote } from './verify-quote.ts'

const missing = ['swtpm', 'swtpm_setup', 'tpm2_quote'].filter((name) => spawnSync('which', [name]).status !== 0)
const skip = missing.length === 0 ? false : `${missing.join(', ')} not found: apt-get install swtpm swtpm-tools tpm2-tools`
const root = mkdtempSync(join(tmpdir(), 'rw-tpm-'))
const ends: (() => void)[] = []
after(() => {
  for (const end of ends) end()
  rmSync(root, { recursive: true, force: true })
})

async function softTpm(name: string): Promise<TpmDevice> {
  const state = join(root, name)
  mkdirSync(state)
  execFileSync('swtpm_setup', ['--tpm2', '--tpmstate', state, '--pcr-banks', 'sha256'], { stdio: 'pipe' })
  const socket = join(root, `${name}.sock`)
  const server = ['--server', `type=unixio,path=${socket}`, '--ctrl', `type=unixio,path=${socket}.ctrl`]
  const child = spawn('swtpm', ['socket', '--tpm2', '--tpmstate', `dir=${state}`, ...server, '--flags', 'startup-clear'], {
    stdio: 'ignore',
  })
  ends.push(() => child.kill('SIGKILL'))
  for (let waited = 0; waited < 100 && !existsSync(socket); waited += 1) await sleep(50)
  return new TpmDevice(`swtpm:path=${socket}`)
}

test('a TPM quotes over a nonce, and another’s quote is told from it', { skip }, async () => {
  const [one, other] = [await softTpm('one'), await softTpm('other')]
  await one.endorsementKey()
  await other.endorsementKey()
  const ak = encodeBase64url(await one.attestationKey())
  await other.attestationKey()
  const nonce = randomBytes(32).toString('hex')
  const quote = await one.quote(nonce)
  const codeOf = (given: typeof quote, over = nonce): string => {
    const read = readQuote({ ...given, log: '' }, ak, over)
    return read.ok ? 'ok' : read.code
  }
  assert.equal(codeOf(quote), 'ok')
  assert.equal(codeOf(quote, randomBytes(32).toString('hex')), 'QUOTE_NONCE')
  assert.equal(codeOf({ ...quote, pcrs: quote.pcrs.with(0, 'ab'.repeat(32)) }), 'QUOTE_PCRS')
  assert.equal(codeOf({ ...quote, pcrs: quote.pcrs.slice(1) }), 'QUOTE_PCRS')
  assert.equal(codeOf({ ...quote, quote: 'AAAA' }), 'QUOTE_MALFORMED')
  assert.equal(codeOf(await other.quote(nonce)), 'QUOTE_SIGNATURE')
})

test('a credential is read by the TPM that it was made for, and by no other', { skip }, async () => {
  const [one, other] = [await softTpm('a'), await softTpm('b')]
  const [ek, ak] = [await one.endorsementKey(), await one.attestationKey()]
  const [, otherAk] = [await other.endorsementKey(), await other.attestationKey()]
  const secret = randomBytes(32)
  assert.deepEqual(await one.activate(makeCredential(ek, ak, secret, randomBytes(32))), secret)
  await assert.rejects(other.activate(makeCredential(ek, ak, secret, randomBytes(32))), /tpm2_activatecredential/)
  await assert.rejects(one.activate(makeCredential(ek, otherAk, secret, randomBytes(32))), /tpm2_activatecredential/)
})

test('a TPM that is not there is said in words', async () => {
  await assert.rejects(new TpmDevice('swtpm:path=/nowhere').endorsementKey(), /the TPM at swtpm:path=\/nowhere: tpm2_getcap: /)
})
