/** What a person sees once the ring stands. The last line begins with `ready`: scripts wait for it. */
import { readFileSync } from 'node:fs'
import { relative } from 'node:path'
import { faultsOf } from '@ringwall/consensus'
import { contextFile, type LocalNode } from './provision.ts'

export interface BannerFacts {
  readonly nodes: readonly LocalNode[]
  readonly data: string
  readonly upstream: string
  readonly demo: boolean
  readonly pids: ReadonlyMap<string, number>
  readonly readyMs: number
}

/** The console's address with the operator's context in its fragment, which browsers never send. */
export function consoleLink(data: string, node: LocalNode): string {
  const context = JSON.stringify(JSON.parse(readFileSync(contextFile(data), 'utf8')))
  return `http://127.0.0.1:${node.admin}/#login=${Buffer.from(context).toString('base64url')}`
}

export function banner({ nodes, data, upstream, demo, pids, readyMs }: BannerFacts): string {
  const first = nodes[0] as LocalNode
  const second = nodes[1] ?? first
  const here = relative(process.cwd(), data) || '.'
  const context = here === '.ringwall' ? '' : ` --context ${contextFile(here)}`
  const tolerated = faultsOf(nodes.length)
  const rows = nodes.map(
    ({ id, region, traffic, admin }) =>
      `  ${id.padEnd(4)}${region.padEnd(10)} traffic http://127.0.0.1:${traffic}   console http://127.0.0.1:${admin}   pid ${pids.get(id)}`,
  )
  const target = demo ? '/search?q=' : '/?q='
  const lines = [
    '',
    `Ringwall: ${nodes.length} ${nodes.length === 1 ? 'node' : 'nodes'} in front of ${demo ? 'the demo shop' : upstream}`,
    ...rows,
    `  tolerates ${tolerated} failed or lying ${tolerated === 1 ? 'node' : 'nodes'}; state in ${here}/`,
    '',
    'try, in another terminal:',
    `  a request         curl -i '127.0.0.1:${first.traffic}${target}lighthouse'`,
    `  SQL injection     curl -i "127.0.0.1:${first.traffic}${target}1'+UNION+SELECT+password+FROM+users--"`,
    `  ban everywhere    ./ringwall deny add ip 203.0.113.7 --ttl 10m${context}`,
    `                    curl -i -H 'X-Forwarded-For: 203.0.113.7' 127.0.0.1:${second.traffic}/`,
    `  why was it so?    ./ringwall explain REQUEST-ID${context}      (the x-request-id of any response)`,
    ...(nodes.length > 1
      ? [
          `  lose a node       kill -9 ${pids.get(second.id)} && ./ringwall check${context}`,
          `                    ./ringwall node --config ${relative(process.cwd(), second.configFile)}`,
        ]
      : []),
    `  the console       ./ringwall console${context}`,
    '',
    'Ctrl-C stops the ring; the next start resumes the same ledger.',
    `ready in ${(readyMs / 1_000).toFixed(1)} s`,
    '',
  ]
  return lines.join('\n')
}
