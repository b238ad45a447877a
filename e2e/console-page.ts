/** The built console in the Chromium of this machine. */
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { resolve } from 'node:path'
import { type Browser, chromium, type Page } from 'playwright-core'

const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync)
const BUILT = existsSync(resolve(import.meta.dirname, '../packages/console/dist/index.html'))

/** Why the console cannot be tried here; false: it can. */
export const consoleSkip: string | false =
  CHROMIUM === undefined
    ? 'no Chromium on this machine (Debian: apt-get install chromium)'
    : BUILT
      ? false
      : 'the console is not built: npm test builds it'

export function launchChromium(): Promise<Browser> {
  return chromium.launch({
    executablePath: CHROMIUM as string,
    args: ['--no-sandbox', '--disable-background-networking'],
  })
}

/** @param base Of the admin port. @param context The operator's file. */
export async function signedInAt(
  browser: Browser,
  base: string,
  context: string,
  options: { readonly colorScheme?: 'light' | 'dark'; readonly width?: number } = {},
): Promise<Page> {
  const opened = await browser.newContext({
    colorScheme: options.colorScheme ?? 'light',
    viewport: { width: options.width ?? 1_280, height: 900 },
  })
  const page = await opened.newPage()
  page.on('dialog', (dialog) => void dialog.accept())
  const link = Buffer.from(readFileSync(context, 'utf8')).toString('base64url')
  await page.goto(`${base}/#login=${link}`)
  await page.getByRole('heading', { name: 'Overview' }).waitFor()
  return page
}

const axe = (): string => readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

/** What axe objects to on a page: rule and element. */
export async function axeFindings(page: Page): Promise<string[][]> {
  const cdp = await page.context().newCDPSession(page)
  // Through the debugger: the page's own policy allows no script that is not its own.
  await cdp.send('Runtime.evaluate', { expression: axe() })
  return (await page.evaluate(
    'axe.run().then(({ violations }) => violations.map(({ id, nodes }) => [id, nodes[0].html]))',
  )) as string[][]
}

/** By how many pixels a page is wider than its window. */
export async function overflowOf(page: Page): Promise<number> {
  return (await page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth')) as number
}
