// What `npm start` and `npm test` run: brings in what is missing (packages, a Node that runs TypeScript, the console's
// build), then hands over. Plain JavaScript without dependencies, since it runs before any are installed.
import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const [task, ...rest] = process.argv.slice(2)

/** Says one line to people and ends. */
function fail(line) {
  process.stderr.write(`ringwall: ${line}\n`)
  process.exit(1)
}

/** npm writes node_modules/.package-lock.json last, so an interrupted install is seen as none. */
function installed() {
  const done = join(root, 'node_modules', '.package-lock.json')
  const lock = join(root, 'package-lock.json')
  if (!existsSync(done)) return false
  const want = JSON.parse(readFileSync(lock, 'utf8')).packages
  const have = JSON.parse(readFileSync(done, 'utf8')).packages
  return Object.entries(want).every(
    ([path, entry]) => !path.startsWith('node_modules/') || entry.optional || entry.link || have[path]?.version === entry.version,
  )
}

function install() {
  if (installed()) return
  process.stderr.write('ringwall: installing packages (once)\n')
  const npm = process.env.npm_execpath
  const [command, args] = npm === undefined ? ['npm', ['ci']] : [process.execPath, [npm, 'ci']]
  const result = spawnSync(command, [...args, '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
    shell: npm === undefined && process.platform === 'win32',
  })
  if (result.status !== 0) fail('npm ci failed; the lines above say why. Is the npm registry reachable?')
}

/** A Node that runs the TypeScript as it is: this one, or the one that came with the packages. */
function runtime() {
  if (Number.parseInt(process.versions.node, 10) >= 24) return process.execPath
  const name = process.platform === 'win32' ? 'node.exe' : 'node'
  const bundled = join(
    root,
    'node_modules',
    `node-${process.platform === 'win32' ? 'win' : process.platform}-${process.arch}`,
    'bin',
    name,
  )
  if (existsSync(bundled)) return bundled
  return fail(
    `Node 24 or later is needed, this is ${process.versions.node}, and none comes with the packages for ${process.platform}-${process.arch}. Install Node 24 and run this again.`,
  )
}

function filesBelow(directory) {
  return readdirSync(directory, { withFileTypes: true })
    .filter(({ name }) => name !== 'node_modules' && name !== 'dist')
    .flatMap((entry) => (entry.isDirectory() ? filesBelow(join(directory, entry.name)) : [join(directory, entry.name)]))
    .sort()
}

/** Builds the console when its sources changed since the last build. Resolves to whether it stands. */
function buildConsole(node) {
  const sources = ['packages/console', 'packages/client/src', 'packages/ring/src'].flatMap((path) => filesBelow(join(root, path)))
  const hash = createHash('sha256')
  for (const file of sources) hash.update(file.slice(root.length)).update(readFileSync(file))
  const digest = hash.digest('hex')
  const stamp = join(root, 'packages', 'console', 'dist', '.built-from')
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === digest) return Promise.resolve(true)
  return new Promise((resolve) => {
    const vite = join(root, 'node_modules', 'vite', 'bin', 'vite.js')
    const child = spawn(node, [vite, 'build', '--logLevel', 'error'], {
      cwd: join(root, 'packages', 'console'),
      stdio: ['ignore', 2, 2],
    })
    child.on('exit', (code) => {
      if (code === 0) {
        mkdirSync(dirname(stamp), { recursive: true })
        writeFileSync(stamp, digest)
      }
      resolve(code === 0)
    })
  })
}

/** Runs a program in the foreground; its exit code, with signals passed on to it. */
function run(node, args) {
  return new Promise((resolve) => {
    const child = spawn(node, args, { cwd: root, stdio: 'inherit' })
    // A terminal sends Ctrl-C to child and parent alike: the child ends in order, the parent waits for it.
    process.on('SIGINT', () => {})
    for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
    child.on('exit', (code, signal) => resolve(code ?? (signal === null ? 1 : 130)))
  })
}

install()
const node = runtime()
if (task === 'start') {
  const building = buildConsole(node)
  building.then((built) => built || process.stderr.write('ringwall: the console could not be built; the ring runs without it\n'))
  process.exitCode = await run(node, ['packages/cli/bin/ringwall.mjs', 'up', ...rest])
} else if (task === 'test') {
  if (!(await buildConsole(node))) fail('the console could not be built; the lines above say why')
  process.exitCode = await run(node, ['tools/test.ts', ...rest])
} else if (task === 'exec') {
  process.exitCode = await run(node, rest)
} else {
  fail(`no task ${JSON.stringify(task)}; there are start, test and exec`)
}
