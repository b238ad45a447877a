import { type CompiledOperator, OperatorArgumentError, type OperatorFactory } from './operator.ts'

interface Network {
  readonly bytes: Uint8Array
  readonly prefix: number
}

/** `@ipMatch`: the address lies in one of several addresses or CIDR blocks, IPv4 or IPv6, separated by commas. */
export const ipMatch: OperatorFactory = ({ text: source }) => inNetworks(source.split(','))

/** `@ipMatchFromFile`, `@ipMatchF`: the same with one address or block a line; # begins a comment. */
export const ipMatchFromFile: OperatorFactory = ({ text: source, data }) =>
  inNetworks(
    data(source.trim())
      .split('\n')
      .map((line) => line.replace(/#.*/, '').trim())
      .filter((line) => line !== ''),
  )

function inNetworks(parts: readonly string[]): CompiledOperator {
  const networks = parts.map((part) => parseNetwork(part.trim()))
  return {
    matches(text, context) {
      const address = parseAddress(text)
      const matched = address !== undefined && networks.some((network) => holds(network, address))
      if (matched && context.capturing) context.capture(0, text)
      return matched
    },
  }
}

function parseNetwork(text: string): Network {
  const slash = text.indexOf('/')
  const bytes = parseAddress(slash < 0 ? text : text.slice(0, slash))
  const bits = bytes === undefined ? 0 : bytes.length * 8
  const prefix = slash < 0 ? bits : /^\d{1,3}$/.test(text.slice(slash + 1)) ? Number(text.slice(slash + 1)) : -1
  if (bytes === undefined || prefix < 0 || prefix > bits) {
    throw new OperatorArgumentError(0, `the address ${text}`, 'IPv4 or IPv6 addresses or CIDR blocks', 'Separate them by commas.')
  }
  return { bytes, prefix }
}

/** 4 or 16 bytes; an IPv4-mapped IPv6 address gives 4. */
export function parseAddress(text: string): Uint8Array | undefined {
  if (!text.includes(':')) return parseV4(text)
  const halves = text.split('::')
  if (halves.length > 2) return undefined
  const head = parseGroups(halves[0]!)
  const tail = halves[1] === undefined ? [] : parseGroups(halves[1])
  if (head === undefined || tail === undefined) return undefined
  const missing = 16 - head.length - tail.length
  if (halves.length === 1 ? missing !== 0 : missing < 2) return undefined
  const bytes = Uint8Array.from([...head, ...new Array<number>(missing).fill(0), ...tail])
  const mapped = bytes.subarray(0, 10).every((byte) => byte === 0) && bytes[10] === 255 && bytes[11] === 255
  return mapped ? bytes.slice(12) : bytes
}

function parseGroups(text: string): number[] | undefined {
  if (text === '') return []
  const bytes: number[] = []
  const groups = text.split(':')
  for (const [i, group] of groups.entries()) {
    const last = i === groups.length - 1
    const v4 = last && group.includes('.') ? parseV4(group) : undefined
    if (v4 !== undefined) bytes.push(...v4)
    else if (/^[0-9a-fA-F]{1,4}$/.test(group)) bytes.push(Number.parseInt(group, 16) >> 8, Number.parseInt(group, 16) & 255)
    else return undefined
  }
  return bytes.length > 16 ? undefined : bytes
}

function parseV4(text: string): Uint8Array | undefined {
  const parts = text.split('.')
  if (parts.length !== 4 || !parts.every((part) => /^(?:0|[1-9]\d{0,2})$/.test(part) && Number(part) < 256)) return undefined
  return Uint8Array.from(parts, Number)
}

function holds({ bytes, prefix }: Network, address: Uint8Array): boolean {
  if (bytes.length !== address.length) return false
  const whole = prefix >> 3
  for (let i = 0; i < whole; i += 1) if (bytes[i] !== address[i]) return false
  const rest = prefix & 7
  return rest === 0 || ((bytes[whole]! ^ address[whole]!) & (0xff00 >> rest) & 0xff) === 0
}
