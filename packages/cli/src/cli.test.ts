import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { duration, parseTtl, printable } from './format.ts'
import { table } from './output.ts'
import { RINGWALL } from './test-command.ts'

const empty = mkdtempSync(join(tmpdir(), 'ringwall-cli-'))
after(() => rmSync(empty, { recursive: true }))

function run(...args: readonly string[]): { readonly code: number | null; readonly stdout: string; readonly stderr: string } {
  const env = { ...process.env, RINGWALL_CONTEXT: '' }
  const { status, stdout, stderr } = spawnSync(process.execPath, [...RINGWALL, ...args], {
    encoding: 'utf8',
    cwd: empty,
    env,
  })
  return { code: status, stdout, stderr }
}

const wrongUsage: readonly [string, readonly string[], RegExp][] = [
  ['an unknown command, with the near one', ['stauts'], /Did you mean status/],
  ['an unknown option', ['status', '--nod', 'n1'], /unknown option/],
  ['a missing argument', ['explain'], /missing required argument/],
  ['a bad number', ['up', '--nodes', 'many'], /--nodes many: expected a whole number from 1 to 10/],
  ['a bad format', ['status', '-o', 'xml'], /-o xml: expected one of table/],
  ['no ring here', ['status'], /no ring found from here/],
  [
    'a bad choice',
    ['protect', 'http://127.0.0.1:1', '--listen', 'x:1', '--mode', 'sometimes'],
    /Allowed choices are enforce, shadow/,
  ],
  ['a node without its configuration', ['node'], /--config FILE/],
  ['no completion for that shell', ['completion', 'powershell'], /expected bash, zsh or fish/],
]
for (const [name, args, message] of wrongUsage) {
  test(`wrong usage is one line and exit code 2: ${name}`, () => {
    const { code, stdout, stderr } = run(...args)
    assert.equal(code, 2)
    assert.match(stderr, message)
    assert.equal(stdout, '')
    assert.doesNotMatch(stderr, /\n\s+at /, 'no stack')
  })
}

test('nobody answers: exit code 1 and one line with all that was tried', () => {
  const file = join(empty, 'operator.json')
  const privateKey = { kty: 'OKP', crv: 'Ed25519', d: 'A'.repeat(43), x: 'A'.repeat(43) }
  writeFileSync(
    file,
    JSON.stringify({
      format: 'ringwall/context/1',
      ring: 'r',
      name: 'ada',
      privateKey,
      nodes: [
        { id: 'n1', url: 'http://127.0.0.1:1' },
        { id: 'n2', url: 'http://127.0.0.1:2' },
      ],
    }),
  )
  const { code, stderr } = run('status', '--context', file)
  assert.equal(code, 1)
  assert.match(stderr, /n1 .*n2 .*does not answer/)
  assert.equal(stderr.trim().split('\n').length, 1)
  writeFileSync(file, '{')
  assert.match(run('status', '--context', file).stderr, /operator\.json: not an operator’s context/)
})

test('a target, a port base and a configuration that cannot be are refused before anything starts', () => {
  assert.match(run('up', '--to', 'localhost:3000').stderr, /expected http:\/\/HOST:PORT/)
  assert.match(run('protect', 'http://127.0.0.1:1/path', '--listen', '127.0.0.1:1').stderr, /without a path/)
  assert.match(run('protect', 'http://127.0.0.1:1', '--listen', '8080').stderr, /--listen: "8080" is no address/)
  assert.match(run('node', '--config', 'nowhere.yaml').stderr, /nowhere\.yaml: the node’s configuration does not exist/)
})

test('completion scripts are valid and know nested commands', () => {
  const bash = run('completion', 'bash')
  assert.equal(bash.code, 0)
  assert.equal(spawnSync('bash', ['-n'], { input: bash.stdout }).status, 0)
  const asked = spawnSync(
    'bash',
    ['-c', `${bash.stdout}\nCOMP_WORDS=(ringwall deny a); COMP_CWORD=2; _ringwall; echo "\${COMPREPLY[@]}"`],
    { encoding: 'utf8' },
  )
  assert.match(asked.stdout, /^add/)
  assert.match(run('completion', 'fish').stdout, /__fish_seen_subcommand_from deny.* -a 'add'/)
})

test('help and version go to stdout with exit code 0', () => {
  assert.match(run('--help').stdout, /protect/)
  assert.match(run('deny', 'add', '--help').stdout, /--ttl/)
  assert.match(run('version').stdout, /^\d+\.\d+\.\d+\n$/)
})

test('durations: read with a unit, shown short', () => {
  assert.equal(parseTtl('10m'), 600_000)
  for (const bad of ['10', 'm', '1.5h', '-1s', '']) assert.throws(() => parseTtl(bad), /no duration/)
  assert.deepEqual([0, 850, 12_000, 250_000, 3_600_000, 200_000_000].map(duration), ['0ms', '850ms', '12s', '4m10s', '1h', '2d'])
})

test('what a terminal would act on is shown, not sent', () => {
  assert.equal(printable('a\x1b[2Jb\x9bc\r'), 'a\\x1b[2Jb\\x9bc\\x0d')
})

test('tables: numbers stand right, colours do not count as width', () => {
  const rows = [
    { name: '\x1b[32mup\x1b[0m', count: 5 },
    { name: 'down', count: 120 },
  ]
  const drawn = table(rows, [
    { title: 'NAME', value: ({ name }) => name },
    { title: 'COUNT', value: ({ count }) => count },
  ])
  assert.deepEqual(drawn.split('\n'), ['NAME  COUNT', '\x1b[32mup\x1b[0m        5', 'down    120'])
})

test('a reader that stops reading, and a full disk, end a command without a stack', {
  skip: process.platform === 'win32',
}, () => {
  const command = `'${process.execPath}' ${RINGWALL.map((word) => `'${word}'`).join(' ')} completion bash`
  const closed = spawnSync('sh', ['-c', `(sleep 0.3; ${command}) | true`], { encoding: 'utf8', cwd: empty })
  assert.equal(closed.stderr, '')
  const full = spawnSync('sh', ['-c', `test -e /dev/full || exit 0; ${command} > /dev/full`], { encoding: 'utf8', cwd: empty })
  assert.doesNotMatch(full.stderr, /\n\s+at /)
})
