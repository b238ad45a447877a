/** For tests: certificates made on the spot, and files of them. */
import 'reflect-metadata'
import { KeyObject, webcrypto } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { SubjectAlternativeNameExtension, X509CertificateGenerator } from '@peculiar/x509'

const DAY_MS = 86_400_000

export interface TestPair {
  readonly certificate: string
  readonly key: string
}

export interface TestPairOptions {
  readonly days?: number
  readonly kind?: 'ec' | 'rsa' | 'rsa-1024'
}

/** Self-signed, for these hosts, in PEM. */
export async function makePair(names: readonly string[], { days = 90, kind = 'ec' }: TestPairOptions = {}): Promise<TestPair> {
  const algorithm =
    kind === 'ec'
      ? { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
      : {
          name: 'RSASSA-PKCS1-v1_5',
          modulusLength: kind === 'rsa' ? 2_048 : 1_024,
          publicExponent: new Uint8Array([1, 0, 1]),
          hash: 'SHA-256',
        }
  const keys = (await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])) as webcrypto.CryptoKeyPair
  const nowMs = Date.now()
  const certificate = await X509CertificateGenerator.createSelfSigned(
    {
      serialNumber: webcrypto
        .getRandomValues(new Uint8Array(8))
        .reduce((text, byte) => `${text}${(byte & 0x7f).toString(16).padStart(2, '0')}`, ''),
      name: `CN=${names[0] ?? 'nobody'}`,
      notBefore: new Date(nowMs - 100 * DAY_MS),
      notAfter: new Date(nowMs + days * DAY_MS),
      signingAlgorithm: algorithm,
      keys,
      ...(names.length === 0
        ? {}
        : { extensions: [new SubjectAlternativeNameExtension(names.map((value) => ({ type: 'dns' as const, value })))] }),
    },
    webcrypto as typeof globalThis.crypto,
  )
  const key = KeyObject.from(keys.privateKey).export({ format: 'pem', type: 'pkcs8' }).toString()
  return { certificate: `${certificate.toString('pem')}\n`, key }
}

export function temporaryFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'ringwall-tls-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** The files of a pair, the key as private as it has to be. */
export function writePair(folder: string, name: string, pair: TestPair): { readonly certificate: string; readonly key: string } {
  const files = { certificate: join(folder, `${name}.pem`), key: join(folder, `${name}.key`) }
  writeFileSync(files.key, pair.key, { mode: 0o600 })
  writeFileSync(files.certificate, pair.certificate)
  return files
}

/** Made and written. */
export async function pairFiles(
  folder: string,
  names: readonly string[],
  options: TestPairOptions = {},
): Promise<{ readonly certificate: string; readonly key: string }> {
  return writePair(folder, `${names[0] ?? 'nobody'}`.replace('*', '_'), await makePair(names, options))
}
