/**
 * Writes the `combined-*` files of the benign corpus: `n24 packages/waf/corpus/combine.ts`. Parts are written by hand; a seeded
 * generator only puts them together, so that a run gives the same files again.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

let state = 0x2545f491
/** xorshift32 (Marsaglia 2003). */
function below(limit: number): number {
  state ^= state << 13
  state ^= state >>> 17
  state ^= state << 5
  return (state >>> 0) % limit
}
const one = <T>(from: readonly T[]): T => from[below(from.length)] as T
const number = (low: number, high: number): number => low + below(high - low + 1)
const some = <T>(from: readonly T[], low: number, high: number): T[] => {
  const rest = [...from]
  return Array.from({ length: number(low, high) }, () => rest.splice(below(rest.length), 1)[0] as T)
}
const lines = (text: string): string[] =>
  text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
const words = (text: string): string[] => text.trim().split(/\s+/)
const chars = (alphabet: string, length: number): string =>
  Array.from({ length }, () => alphabet[below(alphabet.length)]).join('')
const ALNUM = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'
const HEX = '0123456789abcdef'

const FIRST = words(
  'Ann Bob Siobhán Conor Amélie Jürgen Zoë Renée Søren Łukasz Mehmet Olga Priya Wei Yuki Fatima José Nuno Björk Ingrid Aoife Kwame Noor Tariq Dmitri Chloé',
)
const LAST = words(
  "O'Brien O'Connor D'Angelo O'Neill D'Souza N'Dour Müller García Nguyễn Kowalski Smith-Jones Østergaard O'Hara Dell'Acqua L'Heureux M'Bala Ó'Súilleabháin Yılmaz Петров Andersson Or Union Null Table Script",
)
const CITY = words(
  "Berlin L'Aquila Xi'an Dublin N'Djamena Malmö München Genève Kraków Ta'izz Bogotá Québec Reykjavík Hawai'i Zürich Lyon Cork",
)
const STREET = lines(`
  O'Connell St.
  Rue de l'Union
  Via dell'Orso
  St. Mary's Rd
  King's Cross
  5th Ave & Main St
  Straße der Einheit
  Calle d'Or
  Queen's Gate; Flat 2
  P.O. Box
  Select Dr.
  Union Sq.`)
const THING = words(
  'chair lamp desk drawer union-jack tablecloth mouse keyboard bench cable case cover order-book echo-dot cat-tree netbook ring-binder exec-chair null-modem drop-leaf sleeper script-pad',
)
const ADJECTIVE = words(
  "oak red 12\" 5'6\" X-large 50% 3/4\" 1.5mm women's kids' 2-in-1 #4 M&M's rock'n'roll left/right select double-sided",
)
const HOST = words('example.com shop.example blog.example.org cdn.example.net api.example.io intranet.example.co.uk wiki.example')
const SEGMENT = words(
  'products search login account orders docs select union table update drop-in users admin-guide query files images news 2026 en de O%27Brien',
)
const KEY = words(
  'id q page sort order lang ref utm_source from to next return_url filter select tab view token category limit union name',
)
const VALUE = words(
  '5 42 -created_at en-GB newsletter 2026-11-21 a%26b O%27Neil price%3Adesc rock%20%26%20roll true null all %22exact%22 10..20 c%2B%2B',
)

const url = (): string =>
  `https://${one(['', 'www.', 'm.'])}${one(HOST)}/${some(SEGMENT, 1, 3).join('/')}?${some(KEY, 1, 4)
    .map((key) => `${key}=${one(VALUE)}`)
    .join('&')}${one(['', '', '#top', '#section-2', '#!/view'])}`

const uuid = (): string => [8, 4, 4, 4, 12].map((length) => chars(HEX, length)).join('-')
const base64 = (text: string): string => Buffer.from(text).toString('base64')
const base64url = (text: string): string => Buffer.from(text).toString('base64url')
const date = (): string =>
  `20${number(19, 27)}-${String(number(1, 12)).padStart(2, '0')}-${String(number(1, 28)).padStart(2, '0')}`
const time = (): string =>
  `${String(number(0, 23)).padStart(2, '0')}:${String(number(0, 59)).padStart(2, '0')}:${String(number(0, 59)).padStart(2, '0')}`
const address4 = (): string => `203.0.113.${number(1, 254)}`
const person = (): string => `${one(FIRST)} ${one(LAST)}`
const price = (): string =>
  one([
    `$${number(1, 999)}.99`,
    `${number(1, 99)},50 €`,
    `£${number(5, 500)}`,
    `${number(1, 9)}.000 kr`,
    `CHF ${number(1, 99)}.-`,
  ])

const OPENING = lines(`
  Hi all,
  Hello, I've got a question:
  Hey guys; quick question --
  Good morning! I'd like to ask about this:
  Sorry if it's been asked before (I did search)
  Dear Sir or Madam,
  @mods please move if it's the wrong forum.
  Bonjour, j'ai une question :
  Hallo zusammen, ich hab' da ein Problem:
  Hola, no sé si es aquí o allí;
  TL;DR: it doesn't work.
  As discussed -- see below.
  >> you wrote: "it's fine"
  FYI & for the record:`)
const CLOSING = lines(`
  Thanks in advance!
  Any ideas? :)
  What am I doing wrong??
  -- Ann
  Cheers; Bob
  It worked last week...
  I don't get it -- can't be that hard, can it?
  Merci d'avance; à bientôt
  Danke & Gruß
  Solved: I'd forgotten a semicolon ;-)
  PS: I'm on Windows 11 & Chrome 120
  "Works on my machine" they say
  Edit: never mind, it's a typo.
  Update: still broken (see #12).`)
const TROUBLE = lines(`
  the union of the two lists isn't sorted
  my order was dropped from the table
  I can't select an option and update my profile
  the script doesn't load; the console says "undefined is not a function"
  after the update it's either too slow or it crashes
  I get "Access denied" when I log in and log out again
  the password isn't accepted: 'must have 8 characters'
  deleting a row doesn't update the total
  the file's there, but it says "not found"
  the case when both are null or empty isn't handled
  it shows 1 or 2 results and nothing else
  the image isn't shown on the page, only its alt="..." text
  a quote (') or a double quote (") in the name breaks the export
  when I insert a comment it's gone; having reloaded, it's back
  the limit of 10 isn't right, it should be 10 or 20
  my cat stepped on the keyboard & now it's in another language
  the echo in the call doesn't go away; we sleep badly
  the id and the date are swapped
  it asks "are you sure?" and then does nothing
  exec meeting at 5 o'clock or 6, nobody knows`)
const message = (): string => `${one(OPENING)} ${one(TROUBLE)}${one(['.', '!', '...', '; help?'])} ${one(CLOSING)}`

const COLUMN = words('id name price created_at status email user_id total qty title country rating is_active parent_id')
const TABLE = words('users orders products line_items events posts comments employees sessions invoices')
const LITERAL = words("5 10 'open' 'Berlin' NULL 3.5 '2026-01-01' TRUE :id ? $1 @name 'O''Brien' 100")
const condition = (): string =>
  `${one(COLUMN)} ${one(['=', '>', '<', '>=', '<>', 'LIKE', 'IS NOT', 'IN'])} ${one(LITERAL)}`
    .replace(/IN (\S+)/, 'IN ($1)')
    .replace(/IS NOT \S+/, 'IS NOT NULL')
const statement = (): string => {
  const table = one(TABLE)
  switch (below(8)) {
    case 0:
      return `SELECT ${some(COLUMN, 1, 3).join(', ')} FROM ${table} WHERE ${condition()} ${one(['AND', 'OR'])} ${condition()};`
    case 1:
      return `SELECT ${one(COLUMN)}, COUNT(*) FROM ${table} GROUP BY ${one(COLUMN)} HAVING COUNT(*) > ${number(1, 9)} ORDER BY 2 DESC LIMIT ${number(1, 50)}`
    case 2:
      return `select t.${one(COLUMN)}, u.name from ${table} t ${one(['left', 'inner', 'right'])} join users u on u.id = t.user_id where t.${condition()}`
    case 3:
      return `INSERT INTO ${table} (${some(COLUMN, 2, 2).join(', ')}) VALUES (${one(LITERAL)}, ${one(LITERAL)});`
    case 4:
      return `UPDATE ${table} SET ${one(COLUMN)} = ${one(LITERAL)} WHERE ${condition()};`
    case 5:
      return `DELETE FROM ${table} WHERE ${condition()}`
    case 6:
      return `CREATE TABLE ${table} (id SERIAL PRIMARY KEY, ${one(COLUMN)} TEXT NOT NULL DEFAULT '', ${one(COLUMN)} INT REFERENCES ${one(TABLE)}(id));`
    default:
      return `SELECT * FROM ${table} WHERE ${condition()} ORDER BY ${one(COLUMN)} ${one(['ASC', 'DESC'])}`
  }
}
const ASKED = lines(`
  Why is this so slow?
  This gives me a syntax error:
  What's wrong with
  How would you index
  In MySQL 8 I run
  Our ORM generates
  Can someone explain the plan of
  Exercise 3: what does this return?
  It's the same in PostgreSQL:
  Works in SQLite but not in Oracle:`)

const NAME = words('user item total index value count name list result config data node key el row cb opts')
const FUNCTION = words('get load parse render update select filter map fetchItems isValid toString open close sort find echoBack')
const expression = (): string => `${one(NAME)}${one(['.', '?.', ' === ', ' != ', ' + ', ' && ', ' || ', ' > '])}${one(NAME)}`
const code = (): string => {
  switch (below(14)) {
    case 0:
      return `const ${one(NAME)} = ${one(FUNCTION)}(${one(NAME)}, '${one(THING)}');`
    case 1:
      return `if (${expression()}) { return ${one(FUNCTION)}("${one(ADJECTIVE).replace(/"/g, '')}"); } else { ${one(NAME)} = null; }`
    case 2:
      return `for (let i = 0; i < ${one(NAME)}.length; i++) { ${one(NAME)} += ${one(NAME)}[i].${one(NAME)}; }`
    case 3:
      return `${one(NAME)}.${one(['filter', 'map', 'find', 'some'])}((${one(['x', 'it', 'row'])}) => ${expression()}).${one(['join', 'sort', 'slice'])}()`
    case 4:
      return `def ${one(FUNCTION)}(self, ${one(NAME)}=None): return self.${one(NAME)} or ${one(NAME)}`
    case 5:
      return `print("${one(NAME)}: %s" % ${one(NAME)}["${one(KEY)}"])`
    case 6:
      return `public ${one(['int', 'String', 'void', 'List<String>'])} ${one(FUNCTION)}(${one(['int', 'String', 'Map<String, Object>'])} ${one(NAME)}) { this.${one(NAME)} = ${one(NAME)}; }`
    case 7:
      return `$${one(NAME)} = $_${one(['this', 'row', 'item'])}['${one(KEY)}'] ?? '${one(THING)}';`
    case 8:
      return `${one(NAME)}, err := ${one(FUNCTION)}(ctx, "${one(THING)}"); if err != nil { return err }`
    case 9:
      return `let ${one(NAME)}: Vec<${one(['u8', 'String', '&str'])}> = ${one(NAME)}.iter().${one(['map', 'filter'])}(|x| x.${one(NAME)}()).collect();`
    case 10:
      return `<${one(['Button', 'Item', 'UserCard', 'List'])} ${one(NAME)}={${one(NAME)}} key={${one(NAME)}.id}>{${one(NAME)}.name}</${one(['Button', 'Item', 'UserCard', 'List'])}>`
    case 11:
      return `std::${one(['vector', 'map', 'optional'])}<${one(['int', 'std::string'])}> ${one(NAME)} = ${one(FUNCTION)}(*${one(NAME)}, &${one(NAME)});`
    case 12:
      return `@${one(['app.route', 'Get', 'GetMapping', 'router.get'])}("/${one(SEGMENT)}/{id}") // ${one(TROUBLE)}`
    default:
      return `try { ${one(FUNCTION)}(); } catch (e) { console.${one(['log', 'error'])}(e.message || '${one(THING)}'); }`
  }
}

const shell = (): string => {
  const file = one(words('notes.txt app.log data.csv config.yaml report.md main.ts .gitignore'))
  return one([
    `Run \`${one(['npm', 'yarn', 'pnpm'])} ${one(['install', 'test', 'run build', 'ci'])}\` and then \`${one(['make', 'git status', 'docker ps', 'ls'])}\`.`,
    `$ git ${one(['add', 'checkout', 'diff', 'log --oneline --'])} ${file} && git commit -m "${one(TROUBLE)}"`,
    `sudo ${one(['apt', 'dnf', 'pacman'])} install ${one(['git', 'curl', 'nginx', 'python3'])} && sudo systemctl ${one(['start', 'enable', 'restart'])} ${one(['nginx', 'ssh', 'docker'])}`,
    `grep -${one(['r', 'i', 'n', 'v'])} "${one(THING)}" ${file} | ${one(['sort', 'wc -l', 'head -5', 'uniq -c', 'less'])}`,
    `docker ${one(['run --rm -it', 'exec -it', 'logs -f', 'inspect'])} ${one(['app', 'db', 'web'])} ${one(['', 'sh', 'bash'])}`,
    `cd ~/${one(SEGMENT).replaceAll('%27', '')} && ${one(['ls -la', 'make', 'npm start', 'python3 app.py'])}`,
    `curl -s https://${one(HOST)}/v1/${one(SEGMENT)} | jq '.${one(NAME)}[0].${one(NAME)}'`,
    `Open ${one(['/etc/ssh/sshd_config', '/etc/hosts', '~/.ssh/config', '/var/log/syslog', '/etc/default/grub'])} in an editor and change the line ${one(['"Port 22"', '127.0.0.1 localhost', 'Host *', 'DEBUG=1'])}`,
    `The ${one(['cat', 'ls', 'find', 'sort', 'echo', 'ping', 'id'])} command ${one(["doesn't", 'does', 'also'])} work on ${one(['macOS', 'Windows (WSL)', 'Alpine; use busybox'])}`,
    `Step ${number(1, 9)}: copy ${file} to ${one(['/usr/local/bin', 'C:\\Tools', '~/bin', '/opt/app'])}; then restart`,
    `kubectl ${one(['get', 'describe', 'delete'])} ${one(['pod', 'deploy', 'svc'])} ${one(THING)} -n ${one(['prod', 'dev'])} ${one(['-o yaml', '', '| grep Ready'])}`,
    `psql -h db -U ${one(['app', 'reader'])} -c "${statement()}"`,
  ])
}

const log = (): string =>
  one([
    `${address4()} - ${one(['-', 'ann'])} [${number(1, 28)}/Nov/2026:${time()} +0000] "GET /${one(SEGMENT)}?${one(KEY)}=${one(VALUE)} HTTP/1.1" ${one([200, 301, 404, 500])} ${number(100, 9_999)} "https://${one(HOST)}/" "Mozilla/5.0 (X11; Linux x86_64)"`,
    `${date()} ${time()},${number(100, 999)} ${one(['INFO', 'WARN', 'ERROR'])} [${one(['main', 'http-nio-8080-exec-3', 'pool-1-thread-2'])}] c.e.${one(['OrderService', 'UserController', 'Db'])} - ${one(TROUBLE)}`,
    `Nov ${number(1, 28)} ${time()} ${one(['web1', 'db-2'])} ${one(['sshd', 'CRON', 'kernel', 'systemd'])}[${number(100, 9_999)}]: ${one(['Accepted publickey for ann', '(root) CMD (run-parts /etc/cron.hourly)', 'Started Session 5 of user ann.', 'Out of memory: Killed process'])} from ${address4()} port ${number(1_024, 65_000)}`,
    `time=${date()}T${time()}Z level=${one(['info', 'error'])} msg="${one(TROUBLE).replaceAll('"', '\\"')}" id=${number(1, 999)} dur=${number(1, 900)}ms`,
    `[${time()}] ${one(['npm WARN', 'webpack:', 'tsc:'])} ${one(['deprecated', "Module not found: Error: Can't resolve", 'TS2345:'])} '${one(THING)}' in '/home/ann/${one(SEGMENT)}/src'`,
    `at ${one(['com.example.', 'org.acme.'])}${one(['shop', 'auth'])}.${one(['Service', 'Dao'])}.${one(FUNCTION)}(${one(['Service', 'Dao'])}.java:${number(10, 999)}) ~[app.jar:1.${number(0, 9)}]`,
    `    at ${one(FUNCTION)} (/app/node_modules/${one(THING)}/lib/index.js:${number(1, 900)}:${number(1, 80)})`,
    `File "/usr/lib/python3.11/site-packages/${one(THING)}.py", line ${number(1, 900)}, in ${one(FUNCTION)}`,
    `ERROR:  duplicate key value violates unique constraint "${one(TABLE)}_pkey" DETAIL:  Key (id)=(${number(1, 999)}) already exists.`,
    `SQLSTATE[42S22]: Column not found: 1054 Unknown column '${one(COLUMN)}' in 'where clause' (SQL: select * from \`${one(TABLE)}\` where \`${one(COLUMN)}\` = ${number(1, 99)} limit 1)`,
  ])

const graphql = (): string =>
  one([
    `query ${one(['Get', 'List', 'Find'])}${one(['Users', 'Orders'])}($first: Int = ${number(5, 50)}, $after: String) { ${one(TABLE)}(first: $first, after: $after, where: {${one(COLUMN)}: {eq: "${one(THING)}"}}) { edges { node { ${some(COLUMN, 2, 4).join(' ')} } } pageInfo { hasNextPage endCursor } } }`,
    `mutation { update${one(['User', 'Order'])}(id: ${number(1, 99)}, input: {${one(COLUMN)}: "${one(LAST)}"}) { ok errors { field message } } }`,
    `{ ${one(TABLE)}(orderBy: ${one(COLUMN)}_DESC, limit: ${number(1, 20)}) { ${some(COLUMN, 1, 3).join(' ')} author { name avatar(size: ${number(32, 96)}) } } }`,
    `subscription On${one(['Message', 'Order'])}($id: ID!) { ${one(['message', 'order'])}Added(roomId: $id) { id body sender { id name } } }`,
    `query { a: ${one(NAME)}(id: 1) { ...f } b: ${one(NAME)}(id: 2) { ...f } } fragment f on ${one(['User', 'Item'])} { ${some(COLUMN, 2, 3).join(' ')} }`,
  ])

const json = (): string =>
  JSON.stringify(
    one<unknown>([
      { [one(KEY)]: number(1, 99), [one(COLUMN)]: person(), tags: some(THING, 1, 3), active: below(2) === 1, note: one(TROUBLE) },
      {
        type: 'Feature',
        geometry: { type: 'Point', coordinates: [number(-180, 180) + 0.5, number(-90, 90) + 0.25] },
        properties: { name: one(CITY) },
      },
      {
        order: {
          id: uuid(),
          lines: [{ sku: chars(ALNUM, 8), qty: number(1, 9), title: `${one(ADJECTIVE)} ${one(THING)}` }],
          total: price(),
        },
      },
      { filter: { [one(COLUMN)]: { gte: number(1, 9), lt: number(10, 99) } }, sort: [`-${one(COLUMN)}`], page: { size: 20 } },
      { event: 'click', target: `#${one(THING)} > button.primary`, url: url(), ts: number(1_600_000_000, 1_800_000_000) },
      { rule: `${one(COLUMN)} > ${number(1, 99)} && ${one(COLUMN)} != '${one(THING)}'`, action: one(FUNCTION), otherwise: null },
      {
        query: {
          bool: { must: [{ match: { title: one(TROUBLE) } }], filter: [{ range: { [one(COLUMN)]: { gte: 'now-1d' } } }] },
        },
      },
      { ops: [{ insert: `${one(OPENING)} ` }, { attributes: { bold: true }, insert: one(THING) }, { insert: '\n' }] },
      { template: `Dear {{${one(COLUMN)}}}, your ${one(THING)} is ready`, vars: [one(COLUMN)] },
    ]),
  )

const encoded = (): string =>
  one([
    `${base64url('{"alg":"RS256","typ":"JWT","kid":"1"}')}.${base64url(JSON.stringify({ iss: `https://${one(HOST)}`, sub: uuid(), exp: number(1_700_000_000, 1_900_000_000) }))}.${chars(`${ALNUM}-_`, 86)}`,
    base64(message()),
    base64(JSON.stringify({ user: person(), at: date() })),
    `data:image/${one(['png', 'jpeg', 'webp', 'gif'])};base64,${chars(`${ALNUM}+/`, number(60, 200))}==`,
    uuid(),
    chars(HEX, one([32, 40, 64])),
    `sha256-${chars(`${ALNUM}+/`, 43)}=`,
    `$2b$12$${chars(`${ALNUM}./`, 53)}`,
    `ssh-rsa AAAAB3NzaC1yc2EAAAADAQAB${chars(`${ALNUM}+/`, 120)} ${one(FIRST).toLowerCase()}@laptop`,
    `Basic ${base64(`${one(FIRST)}:${chars(`${ALNUM}!$%&/()=?`, 12)}`)}`,
    `sig=${chars(`${ALNUM}%`, 40)}&ts=${number(1_600_000_000, 1_800_000_000)}`,
    chars(`${ALNUM}!#$%&*()-_=+[]{};:,.<>?`, number(10, 24)),
    `${number(0, 9)};${chars(ALNUM, 22)}|${chars(HEX, 16)}|${number(1, 99)}`,
  ])

const row = (): string => {
  const cells = [
    String(number(1, 9_999)),
    `"${one(LAST)}, ${one(FIRST)}"`,
    one(CITY),
    `"${number(1, 200)} ${one(STREET)}"`,
    date(),
    price(),
    `"${one(TROUBLE).replaceAll('"', '""')}"`,
  ]
  return some(cells, 3, 6).join(one([',', ';', '\t', '|']))
}

const styled = (): string => {
  const selector = one(
    lines(`
    .card > h2:first-child
    a[href^="http"]::after
    #nav li:not(.active)
    @media (min-width: 40em) and (orientation: landscape)
    input[type='text']:focus
    table tr:nth-child(2n+1) td
    :root
    body *
    .btn--primary:hover, .btn--primary:focus`),
  )
  const rules = lines(`
    color: #${chars(HEX, 6)}
    margin: ${number(0, 40)}px auto
    background: url('/img/${one(THING)}.svg') no-repeat
    content: '\\201${number(0, 9)}'
    width: calc(100% - ${number(1, 90)}px)
    transition: opacity .${number(1, 9)}s ease
    font: italic bold ${number(10, 30)}px/1.5 "Helvetica Neue", sans-serif
    grid-area: ${number(1, 4)} / ${number(1, 4)} / span 2
    transform: rotate(${number(1, 180)}deg) scale(1.${number(1, 9)})`)
  return `${selector} { ${some(rules, 1, 4).join('; ')} }`
}

const rich = (): string => {
  const inline = (): string =>
    one([
      `<strong>${one(ADJECTIVE)}</strong>`,
      `<em>${one(THING)}</em>`,
      `<a href="${url().replaceAll('&', '&amp;')}" title="${one(CITY).replaceAll('"', '')}">${one(THING)}</a>`,
      `<span style="color: #${chars(HEX, 6)}; font-size: ${number(10, 30)}px">${one(CITY)}</span>`,
      `<img src="https://${one(HOST)}/img/${number(1, 999)}.jpg" alt="${one(TROUBLE).replaceAll('"', '&quot;')}" width="${number(10, 900)}">`,
      `<code>${one(FUNCTION)}()</code>`,
      one(TROUBLE).replaceAll('"', '&quot;'),
      price(),
      '<br />',
      '&nbsp;',
      '<del>old</del>',
    ])
  const tag = one(['p', 'div', 'li', 'td', 'h3', 'blockquote', 'section'])
  return `<${tag}${one(['', ' class="intro"', ' id="s1"', ' style="text-align:center"', ' data-on="yes"', ' dir="ltr"'])}>${Array.from({ length: number(1, 5) }, inline).join(' ')}</${tag}>`
}

const marked = (): string =>
  one([
    `## ${one(TROUBLE)} (#${number(1, 999)})`,
    `- [${one(['x', ' '])}] ${one(TROUBLE)} -- see [${one(THING)}](${url()})`,
    `**${one(ADJECTIVE)} ${one(THING)}**: \`${one(FUNCTION)}(${one(NAME)})\` ${one(TROUBLE)}`,
    `> ${message()}`,
    `| ${some(COLUMN, 2, 4).join(' | ')} |`,
    `![${one(CITY)}](https://${one(HOST)}/${number(1, 99)}.png "${one(ADJECTIVE).replaceAll('"', '')}") *by ${person()}*`,
    `\`\`\`${one(['js', 'sql', 'sh', ''])} ${one([code(), statement(), shell()])} \`\`\``,
    `1. ${one(TROUBLE)}; 2. ${one(TROUBLE)}`,
  ])

const search = (): string =>
  one([
    `"${one(ADJECTIVE).replaceAll('"', '')} ${one(THING)}" ${one(['OR', 'AND', 'NOT', '-', '+', '||', '&&'])} ${one(THING)}`,
    `${one(COLUMN)}:${one(LAST)} AND (${one(COLUMN)}:>${number(1, 99)} OR ${one(COLUMN)}:[${number(1, 9)} TO ${number(10, 99)}])`,
    `site:${one(HOST)} ${one(THING)} ${one(['filetype:pdf', 'intitle:index', '-inurl:forum', 'after:2025'])}`,
    `${one(COLUMN)} eq '${one(LAST).replaceAll("'", "''")}' ${one(['and', 'or'])} ${one(COLUMN)} ${one(['gt', 'lt', 'ne'])} ${number(1, 99)}`,
    `${one(THING)} ${one(['or', 'and', 'vs', '&', '+'])} ${one(THING)} ${one(['under', '<', '>', 'near'])} ${price()}`,
    `how to ${one(['select', 'insert', 'update', 'delete', 'drop', 'sort', 'find', 'kill'])} a ${one(THING)} ${one(['in', 'from', 'with'])} ${one(['excel', 'python', 'sql', 'bash', 'php'])}`,
    `${one(ADJECTIVE)} ${one(THING)} ${one(['#1', '"new"', '(used)', '-broken', '~2', "'26"])}`,
    `${one(['from', 'to', 'author', 'assignee'])}:${one(FIRST).toLowerCase()} ${one(['is:open', 'label:"help wanted"', 'has:attachment', 'in:trash'])} ${one(THING)}*`,
  ])

const expressionLike = (): string =>
  one([
    `^${one(['\\d', '[A-Z]', '\\w', '[^\\s,;]'])}{${number(1, 4)},${number(5, 9)}}${one(['$', '\\b', '(?:-\\d+)?$', '(?=\\.)'])}`,
    `(${some(THING, 2, 4).join('|')})${one(['+', '*', '?', '{2}'])}\\s*=\\s*("[^"]*"|'[^']*')`,
    `s/${one(THING)}/${one(ADJECTIVE).replaceAll('/', '\\/')}/g`,
    `${number(2, 9)}x^2 ${one(['+', '-'])} ${number(2, 9)}x = ${number(1, 99)} and x ${one(['<', '>', '<='])} ${number(1, 9)}`,
    `f(${one(['x', 'n', 't'])}) = ${number(1, 9)}*${one(['sin', 'exp', 'log', 'sqrt'])}(x/${number(2, 9)}) - f'(${number(0, 9)})`,
    `(${number(1, 9)} + ${number(1, 9)}) * ${number(1, 9)} / (${number(1, 9)} - ${number(10, 19)}) = ?`,
    `P(A|B) = ${number(1, 9)}/${number(10, 99)}; P(B') = 1 - P(B)`,
    `=IF(AND(A${number(1, 99)}>${number(1, 99)},B${number(1, 99)}="${one(THING)}"),"yes","no")`,
    `${number(1, 99)}%2 == 0 ? 'even' : 'odd'`,
    `if a=${number(1, 9)} and b=${number(1, 9)} or c>${number(1, 9)} then d='${one(THING)}'`,
  ])

const where = (): string =>
  one([
    `${person()}, ${number(1, 300)} ${one(STREET)}, ${number(1_000, 99_999)} ${one(CITY)}`,
    `${person()}; ${one(['c/o', 'attn:', 'z. Hd.'])} ${person()} -- ${one(STREET)} ${number(1, 99)}/${number(1, 9)}`,
    `"${person()}" <${one(FIRST).toLowerCase()}.${number(1, 99)}@${one(HOST)}>; ${one(['cc', 'bcc'])}: ${one(FIRST)}`,
    `${one(ADJECTIVE)} ${one(THING)} (${one(ADJECTIVE)}) ${price()} -- ${one(["it's new", 'like new', 'or best offer', 'used & cleaned', "no refunds; don't ask"])}`,
    `${one(LAST)}'s ${one(THING)} & ${one(LAST)}'s ${one(THING)}; ${price()}`,
    `${one(THING)}_${date()}_v${number(1, 9)} (${one(LAST)}'s copy).${one(['docx', 'pdf', 'xlsx', 'tar.gz', 'sql.txt', 'jpeg'])}`,
    `${one(['Meeting', 'Lunch', 'Call'])} ${one(['@', 'at'])} ${number(1, 12)} ${one(["o'clock", 'pm', 'Uhr', 'h'])} ${one(['w/', '&', 'or'])} ${person()} (${one(CITY)})`,
  ])

/** Several lines, as people paste them: what they say, some code or a log, what they say after it. */
function pasted(): string {
  const block = one([code, shell, statement, log, row, styled, rich, marked, json])
  return [message(), '', ...Array.from({ length: number(2, 6) }, block), '', one(CLOSING)].join(one(['\n', '\r\n']))
}

function write(name: string, count: number, make: () => string, encode: (text: string) => string = (text) => text): void {
  const made = new Set<string>()
  while (made.size < count) made.add(encode(make()))
  writeFileSync(join(import.meta.dirname, 'benign', name), `${[...made].join('\n')}\n`)
}

write('combined-messages.txt', 420, message)
write('combined-sql.txt', 340, () => (below(3) === 0 ? statement() : `${one(ASKED)} ${statement()}`))
write('combined-code.txt', 460, code)
write('combined-shell.txt', 280, shell)
write('combined-logs.txt', 340, log)
write('combined-graphql.txt', 140, graphql)
write('combined-json.txt', 300, json)
write('combined-encoded.txt', 300, encoded)
write('combined-rows.txt', 300, row)
write('combined-styles.txt', 140, styled)
write('combined-rich-text.txt', 320, rich)
write('combined-markdown.txt', 260, marked)
write('combined-searches.txt', 320, search)
write('combined-formulas.txt', 240, expressionLike)
write('combined-people.txt', 360, where)
write('combined-links.txt', 220, () =>
  below(2) === 0
    ? url()
    : `https://${one(HOST)}/${one(['login', 'r', 'out'])}?${one(['next', 'u', 'return_to'])}=${encodeURIComponent(url())}`,
)
write('combined-pasted.lines.txt', 320, pasted, JSON.stringify)
