/**
 * JA4, the fingerprint of a TLS client by what its ClientHello offers. Written from its published description
 * (FoxIO, technical_details/JA4.md); JA4 itself is under the BSD 3-clause licence, unlike the rest of JA4+.
 */
import { hash } from 'node:crypto'
import type { ClientHello } from './client-hello.ts'

const VERSIONS: ReadonlyMap<number, string> = new Map([
  [0x0304, '13'],
  [0x0303, '12'],
  [0x0302, '11'],
  [0x0301, '10'],
  [0x0300, 's3'],
  [0x0002, 's2'],
])
const SERVER_NAME = '0000'
const ALPN = '0010'
const NOTHING = '000000000000'

/** Such as `t13d1516h2_8daaf6152771_e5627efa2ab1`; 36 characters. */
export function ja4(hello: ClientHello): string {
  const { legacyVersion, supportedVersions, alpn, namesServer } = hello
  const versions = supportedVersions.filter((version) => !isInvented(version))
  const version = VERSIONS.get(versions.length === 0 ? legacyVersion : Math.max(...versions)) ?? '00'
  const ciphers = hexes(hello.ciphers)
  const extensions = hexes(hello.extensions)
  const counted = `${count(ciphers)}${count(extensions)}`
  const kept = extensions.filter((type) => type !== SERVER_NAME && type !== ALPN).sort()
  const signatures = hexes(hello.signatureAlgorithms)
  const offered = signatures.length === 0 ? kept.join(',') : `${kept.join(',')}_${signatures.join(',')}`
  const b = ciphers.length === 0 ? NOTHING : digest(ciphers.sort().join(','))
  const c = kept.length === 0 ? NOTHING : digest(offered)
  return `t${version}${namesServer ? 'd' : 'i'}${counted}${ends(alpn[0])}_${b}_${c}`
}

/** GREASE (RFC 8701): values that clients invent, so that servers learn to ignore what they do not know. */
function isInvented(value: number): boolean {
  return (value & 0x0f0f) === 0x0a0a && value >> 8 === (value & 0xff)
}

function hexes(values: readonly number[]): string[] {
  return values.filter((value) => !isInvented(value)).map((value) => value.toString(16).padStart(4, '0'))
}

function count(values: readonly string[]): string {
  return String(Math.min(values.length, 99)).padStart(2, '0')
}

function digest(text: string): string {
  return hash('sha256', text, 'hex').slice(0, 12)
}

/** First and last character of the first protocol offered; of its hexadecimal form when either is not a letter or digit. */
function ends(protocol: Buffer | undefined): string {
  if (protocol === undefined || protocol.length === 0) return '00'
  const text = protocol.toString('latin1')
  const pair = `${text[0]}${text.at(-1)}`
  if (/^[0-9A-Za-z]{2}$/.test(pair)) return pair
  const hex = protocol.toString('hex')
  return `${hex[0]}${hex.at(-1)}`
}
