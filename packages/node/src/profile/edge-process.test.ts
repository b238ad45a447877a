import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { after, test } from 'node:test'
import { edgeCommand, ownFlags } from './edge-process.ts'

const CLI = resolve(import.meta.dirname, '../../../cli/bin/ringwall.mjs')
const folder = mkdtempSync(join(tmpdir(), 'ringwall-edge-'))
after(() => rmSync(folder, { recursive: true }))

test('the bounds are the same when the process is replaced again, and flags of the operator stay', () => {
  const program = { config: '/etc/node.yaml', takeOver: false }
  const first = edgeCommand(program, ['--use-openssl-ca'], { folder: '/var/cache/ringwall', index: 'ab' })
  assert.equal(first.args[0], '--use-openssl-ca')
  assert.deepEqual(JSON.parse(first.args.at(-1) ?? ''), program)
  const again = edgeCommand(program, first.args.slice(0, -2), undefined)
  assert.deepEqual(again.args, first.args)
  assert.deepEqual([first.env.RINGWALL_PLAIN_INDEX, again.env.RINGWALL_PLAIN_INDEX], ['ab', undefined])
  assert.deepEqual(ownFlags(first.args.slice(0, -2)), ['--use-openssl-ca'], 'what is measured is the same on an edge')
  assert.deepEqual(ownFlags(first.args.slice(0, -3)), first.args.slice(0, -3), 'some of them are not those of an edge')
})

test('a node whose configuration says edge runs as the edge program, and says what is wrong as any other', {
  skip: process.platform === 'win32' ? 'Windows replaces no processes' : false,
}, () => {
  const run = (profile: string) => {
    const file = join(folder, `${profile}.yaml`)
    writeFileSync(file, `profile: ${profile}\nformat: none\n`)
    // The program as the kernel knows it is said by whoever reads NODE_OPTIONS: a module that prints its arguments.
    const print = `data:text/javascript,process.stderr.write('['+process.execArgv.join(' ')+']')`
    const { status, stderr } = spawnSync(process.execPath, ['--import', print, CLI, 'node', '--config', file], {
      encoding: 'utf8',
    })
    return { status, stderr, file }
  }
  const edge = run('edge')
  assert.equal(edge.status, 1)
  assert.match(edge.stderr, /--max-semi-space-size=1/)
  assert.match(edge.stderr, /edge\.yaml:2:9: format/)
  const full = run('full')
  assert.doesNotMatch(full.stderr, /--max-semi-space-size/)
  assert.match(full.stderr, /full\.yaml:2:9: format/)
})

test('a node loads no client for browsers’ interfaces, which would be 14 MB of an edge', () => {
  const program = new URL('../run-node.ts', import.meta.url).href
  const print = `await import('${program}');process.stdout.write(process.moduleLoadList.filter((name)=>name.includes('undici')).join())`
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '--eval', print], { encoding: 'utf8' })
  assert.equal(status, 0, stderr)
  assert.equal(stdout, '')
})
