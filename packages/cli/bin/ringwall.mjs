#!/usr/bin/env node
// Finds a Node that runs the TypeScript, then hands over. Plain JavaScript, since an older Node may start it.
import { spawn } from 'node:child_process'
import { existsSync, lstatSync, mkdirSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = dirname(fileURLToPath(import.meta.url))
const main = join(here, '..', 'src', 'main.ts')

function bundledRuntime() {
  const platform = process.platform === 'win32' ? 'win' : process.platform
  const name = process.platform === 'win32' ? 'node.exe' : 'node'
  for (let folder = here; ; folder = dirname(folder)) {
    const candidate = join(folder, 'node_modules', `node-${platform}-${process.arch}`, 'bin', name)
    if (existsSync(candidate)) return candidate
    if (folder === dirname(folder)) return undefined
  }
}

/**
 * Where compiled code is kept: what lies there is run. So it is a folder that this user made and nobody else can write to, never
 * the engine's own default, a name below the temporary folder that anybody may take first.
 */
function codeFolder() {
  const uid = process.getuid?.()
  if (uid === undefined) return join(tmpdir(), 'ringwall-code')
  for (const base of [process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), tmpdir()]) {
    const folder = join(base, `ringwall-code-${uid}`)
    try {
      mkdirSync(folder, { recursive: true, mode: 0o700 })
      const found = lstatSync(folder)
      if (found.isDirectory() && found.uid === uid && (found.mode & 0o077) === 0) return folder
    } catch {
      // No home, or one that cannot be written to: the next.
    }
  }
  return undefined
}

if (Number.parseInt(process.versions.node, 10) >= 24) {
  const folder = process.env.NODE_COMPILE_CACHE ?? codeFolder()
  if (folder !== undefined) {
    const { enableCompileCache } = await import('node:module')
    enableCompileCache(folder)
    // Threads look at the variable alone. Without it each loads what strips types for itself, some 20 MB.
    process.env.NODE_COMPILE_CACHE = folder
  }
  // node:sqlite and type stripping announce themselves; a command line's stderr is for the user.
  process.removeAllListeners('warning')
  await import(main)
} else {
  const runtime = bundledRuntime()
  if (runtime === undefined) {
    process.stderr.write(
      `ringwall: Node 24 or later is needed, this is ${process.versions.node}; in a clone, npm ci brings one along\n`,
    )
    process.exit(1)
  }
  const child = spawn(
    runtime,
    ['--disable-warning=ExperimentalWarning', fileURLToPath(import.meta.url), ...process.argv.slice(2)],
    { stdio: 'inherit' },
  )
  // A terminal sends Ctrl-C to both: the child ends in order, this one waits for it.
  process.on('SIGINT', () => {})
  for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
  child.on('exit', (code) => process.exit(code ?? 130))
}
