/** A TPM 2.0 by way of tpm2-tools: its endorsement key, an attestation key of our own, quotes, and credentials that only it can read. */
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { encodeBase64url } from '@ringwall/ring/tx'
import { TpmMalformed } from './reader.ts'

const run = promisify(execFile)
const TOOL_MS_MAX = 20_000
/** Where TCG’s provisioning guidance has the RSA endorsement key, and its certificate. */
const EK_HANDLE = '0x81010001'
const EK_CERTIFICATE_INDEX = '0x01c00002'
const AK_HANDLE = '0x81020002'
/** Firmware, boot loader and secure boot; and the one that is left to applications. */
const PCRS = [0, 1, 2, 3, 4, 5, 6, 7, 14]

export interface TpmQuote {
  readonly quote: string
  readonly signature: string
  /** Lower-case hex, in order of the registers. */
  readonly pcrs: readonly string[]
}

export class TpmDevice {
  readonly #tcti: string

  /** @param tcti As tpm2-tools take it: `device:/dev/tpmrm0`, `swtpm:path=…`. */
  constructor(tcti: string) {
    this.#tcti = tcti
  }

  /** @throws {TpmMalformed} With what the tool said. */
  async #tool(name: string, ...args: readonly string[]): Promise<string> {
    try {
      const { stdout } = await run(`tpm2_${name}`, [...args, '-T', this.#tcti], { timeout: TOOL_MS_MAX, encoding: 'utf8' })
      return stdout
    } catch (cause) {
      const { code, stderr = '' } = cause as { readonly code?: unknown; readonly stderr?: string }
      const said = code === 'ENOENT' ? 'tpm2-tools are not installed' : (stderr.trim().split('\n').at(-2) ?? stderr.trim())
      throw new TpmMalformed(`the TPM at ${this.#tcti}: tpm2_${name}: ${said.slice(0, 300)}`, { cause })
    }
  }

  async #within<T>(work: (file: (name: string) => string) => Promise<T>): Promise<T> {
    const folder = mkdtempSync(join(tmpdir(), 'ringwall-tpm-'))
    try {
      return await work((name) => join(folder, name))
    } finally {
      rmSync(folder, { recursive: true, force: true })
      // A TPM without a resource manager keeps what was loaded, and has room for three.
      if (!this.#tcti.startsWith('device:/dev/tpmrm')) await this.#tool('flushcontext', '-t').catch(() => undefined)
    }
  }

  /** TPM2B_PUBLIC of the endorsement key, made where there is none. */
  endorsementKey(): Promise<Buffer> {
    return this.#within(async (file) => {
      const held = await this.#tool('getcap', 'handles-persistent')
      if (!held.toLowerCase().includes(EK_HANDLE)) await this.#tool('createek', '-c', EK_HANDLE, '-G', 'rsa', '-u', file('made'))
      await this.#tool('readpublic', '-Q', '-c', EK_HANDLE, '-f', 'tss', '-o', file('ek'))
      return readFileSync(file('ek'))
    })
  }

  /** The endorsement key's certificate, DER. */
  endorsementCertificate(): Promise<Buffer> {
    return this.#within(async (file) => {
      await this.#tool('nvread', '-Q', EK_CERTIFICATE_INDEX, '-o', file('certificate'))
      return readFileSync(file('certificate'))
    })
  }

  /** TPM2B_PUBLIC of the attestation key, made where there is none: ECDSA over P-256. */
  attestationKey(): Promise<Buffer> {
    return this.#within(async (file) => {
      const held = await this.#tool('getcap', 'handles-persistent')
      if (!held.toLowerCase().includes(AK_HANDLE)) {
        const key = ['-C', EK_HANDLE, '-c', file('ak'), '-G', 'ecc', '-g', 'sha256', '-s', 'ecdsa']
        await this.#tool('createak', '-Q', ...key, '-u', file('made'), '-n', file('name'))
        await this.#tool('evictcontrol', '-Q', '-c', file('ak'), AK_HANDLE)
      }
      await this.#tool('readpublic', '-Q', '-c', AK_HANDLE, '-f', 'tss', '-o', file('public'))
      return readFileSync(file('public'))
    })
  }

  /** The secret in a credential that was made for this TPM. */
  activate(credential: Uint8Array): Promise<Buffer> {
    return this.#within(async (file) => {
      writeFileSync(file('credential'), credential, { mode: 0o600 })
      await this.#tool('startauthsession', '-Q', '--policy-session', '-S', file('session'))
      try {
        await this.#tool('policysecret', '-Q', '-S', file('session'), '-c', 'endorsement')
        const session = ['-P', `session:${file('session')}`]
        await this.#tool(
          'activatecredential',
          '-Q',
          '-c',
          AK_HANDLE,
          '-C',
          EK_HANDLE,
          '-i',
          file('credential'),
          '-o',
          file('secret'),
          ...session,
        )
        return readFileSync(file('secret'))
      } finally {
        await this.#tool('flushcontext', file('session')).catch(() => undefined)
      }
    })
  }

  /** @param nonce In hex. */
  quote(nonce: string): Promise<TpmQuote> {
    return this.#within(async (file) => {
      const selection = `sha256:${PCRS.join(',')}`
      const out = ['-m', file('quote'), '-s', file('signature'), '-o', file('pcrs'), '-F', 'values', '-g', 'sha256']
      await this.#tool('quote', '-Q', '-c', AK_HANDLE, '-l', selection, '-q', nonce, ...out)
      const values = readFileSync(file('pcrs'))
      return {
        quote: encodeBase64url(readFileSync(file('quote'))),
        signature: encodeBase64url(readFileSync(file('signature'))),
        pcrs: PCRS.map((_, at) => values.toString('hex', at * 32, at * 32 + 32)),
      }
    })
  }
}
