import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { matchesSelector, parseSelector } from './fleet-label.ts'
import type { Policy } from './policy.ts'
import { type CompiledPolicy, compilePolicy } from './policy-compile.ts'
import { formatProblems, parsePolicyDocument } from './policy-document.ts'

interface Given {
  readonly name: string
  readonly hosts: readonly string[]
  readonly nodes?: string
}

function textOf(services: readonly Given[]): string {
  const lines = services.map(({ name, hosts, nodes }) => {
    const select = nodes === undefined ? '' : `, nodes: "${nodes}"`
    return `  ${name}: { hosts: [${hosts.map((host) => `"${host}"`).join(', ')}]${select}, waf: { mode: off }, upstreams: [{ url: "http://127.0.0.1:1" }] }`
  })
  return `version: 1\nservices:\n${lines.join('\n')}\n`
}

function policyOf(services: readonly Given[]): Policy {
  const document = parsePolicyDocument(textOf(services))
  assert.ok(document.ok, JSON.stringify(document))
  return document.policy
}

function compiledOf(services: readonly Given[]): CompiledPolicy {
  const compilation = compilePolicy(
    policyOf(services),
    () => {
      throw new Error('there are no rules here')
    },
    new Map([['base', []]]),
  )
  assert.ok(compilation.ok, JSON.stringify(compilation))
  return compilation.compiled
}

function problemsOf(services: readonly Given[]): string {
  const document = parsePolicyDocument(textOf(services))
  return document.ok ? '' : formatProblems(document.problems, 'ringwall.yaml')
}

const SHOPS: readonly Given[] = [
  { name: 'shop-eu', hosts: ['shop.example'], nodes: 'role=edge,region in (eu-1)' },
  { name: 'shop', hosts: ['shop.example', '*.shop.example'] },
  { name: 'intern', hosts: ['intern.example', '*'], nodes: 'role=office' },
]
const EDGE = new Map([
  ['role', 'edge'],
  ['region', 'eu-1'],
])

test('a service is served by the nodes that it selects, and elsewhere it is as if it did not exist', () => {
  const { nodes } = compiledOf(SHOPS)
  const at = (labels: ReadonlyMap<string, string>, host: string): string | undefined =>
    nodes.of(labels).route(host, '/', 'GET')?.service.name
  const office = new Map([['role', 'office']])
  assert.deepEqual([at(EDGE, 'intern.example'), at(office, 'intern.example')], [undefined, 'intern'])
  assert.deepEqual([at(EDGE, 'other.example'), at(office, 'other.example')], [undefined, 'intern'])
  assert.deepEqual([at(EDGE, 'shop.example'), at(office, 'shop.example.')], ['shop-eu', 'shop'])
  assert.deepEqual([at(EDGE, 'a.shop.example'), at(office, 'a.shop.example')], ['shop', 'shop'])
  assert.deepEqual(
    nodes.of(EDGE).routes.map(({ label }) => label),
    ['shop-eu', 'shop'],
  )
})

test('the same labels come to the same routing, so that blocks which change nothing change no table', () => {
  const { nodes } = compiledOf(SHOPS)
  assert.equal(nodes.of(EDGE), nodes.of(new Map([...EDGE, ['tier', '2']])))
  assert.notEqual(nodes.of(EDGE), nodes.of(new Map()))
  assert.equal(nodes.without(['intern', 'shop', 'of another policy']), nodes.of(EDGE))
})

test('a host is left to a later service only by services that some nodes do not serve', () => {
  const open = { name: 'b', hosts: ['a.example'] }
  assert.equal(problemsOf([{ name: 'a', hosts: ['a.example'], nodes: 'x=1' }, open]), '')
  assert.match(
    problemsOf([
      { name: 'a', hosts: ['a.example'] },
      { ...open, nodes: 'x=1' },
    ]),
    /^ringwall\.yaml:4:\d+: the host a\.example belongs to the service a \(name it once, or say before this one which nodes serve a: nodes: role=edge\)$/,
  )
  assert.match(problemsOf([{ name: 'a', hosts: ['a.example', 'A.example'], nodes: 'x=1' }]), /belongs to this service already/)
})

for (const [what, select, expected] of [
  ['that is no selector', 'role in edge', /:3:\d+: "role in edge" is no term of a selector/],
  ['with a value that no label has', 'role in (a b)', /is no value of a label/],
  ['that is empty', ' ', /expected a selector such as role=edge/],
  ['that is too long', `a!=${'b'.repeat(600)}`, /at most 512 characters/],
] as const)
  test(`a service with nodes ${what} is refused, with its place`, () => {
    const document = parsePolicyDocument(textOf([{ name: 'a', hosts: ['*'], nodes: select }]))
    assert.ok(!document.ok)
    assert.match(formatProblems(document.problems, 'ringwall.yaml'), expected)
    assert.deepEqual(
      document.problems.map(({ path }) => path),
      ['/services/a/nodes'],
    )
  })

const label = fc.constantFrom('a=1', 'a=2', 'b=1', 'b!=1', 'a notin (2,3)', '!c', 'a', 'a in (1,2),b')
const host = fc.constantFrom('x.example', 'y.example', '*.example', '*')
const given = fc.array(fc.tuple(fc.uniqueArray(host, { minLength: 1, maxLength: 3 }), label), { minLength: 1, maxLength: 5 })
const labels = fc.dictionary(fc.constantFrom('a', 'b', 'c'), fc.constantFrom('1', '2', '3'))

test('whatever is selected, a node answers as if the policy had only the services that select it', () => {
  fc.assert(
    fc.property(given, labels, fc.constantFrom('x.example', 'y.example', 'z.example', 'other'), (all, own, asked) => {
      const services = all.map(([hosts, nodes], index) => ({ name: `s${index}`, hosts, nodes }))
      const mine = new Map(Object.entries(own))
      const selected = services.filter(({ nodes }) => {
        const read = parseSelector(nodes)
        return 'terms' in read && matchesSelector(read.terms, mine)
      })
      const served = compiledOf(services).nodes.of(mine)
      const alone = selected.length === 0 ? undefined : compiledOf(selected).route(asked, '/', 'GET')
      assert.equal(served.route(asked, '/', 'GET')?.service.name, alone?.service.name)
      assert.deepEqual(
        [...served.elsewhere].sort(),
        services.flatMap(({ name }) => (selected.some((one) => one.name === name) ? [] : [name])),
      )
    }),
    { numRuns: 300 },
  )
})
