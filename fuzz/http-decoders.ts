/** Decoders of HTTP: heads of requests and responses, targets, bodies, and the rules that look at them. */

import { normalizeRoutingPath, readingsOf } from '@ringwall/guard'
import { compileRules, RuleSyntaxError, readFields } from '@ringwall/waf'
import { connectionTokens } from '../packages/proxy/src/header-names.ts'
import { parseRequestHead } from '../packages/proxy/src/request-head.ts'
import { type ResponseHead, ResponseParser } from '../packages/proxy/src/response-parser.ts'
import { sourceOf } from '../packages/proxy/src/source-address.ts'
import { parseTraceparent } from '../packages/telemetry/src/trace-context.ts'
import { parseCookies } from '../packages/waf/src/body/cookies.ts'
import { parseRequestBody } from '../packages/waf/src/body/request-body.ts'
import { bytesToText } from '../packages/waf/src/bytes.ts'
import { bytesOf, type Decoder, KIB, latin1, never, pieces, textOf, tokens } from './decoder.ts'
import { must } from './must.ts'

const HTTP_TOKENS = tokens(
  '\r\n',
  '\n',
  '\r',
  '\0',
  ':',
  ' ',
  '\t',
  'Host: a\r\n',
  'Content-Length: 5\r\n',
  'Content-Length: +5\r\n',
  'Transfer-Encoding: chunked\r\n',
  'Transfer-Encoding: xchunked\r\n',
  'Connection: host\r\n',
  'Expect: 100-continue\r\n',
  'HTTP/1.0',
  'HTTP/2.0',
  '..',
  '%2e',
  '%00',
  '//',
  '\\',
  '#',
  '?',
  'http://a/',
  '*',
  'Upgrade: websocket\r\n',
  '0\r\n\r\n',
  '5;a=b\r\n',
  'fffffffffffff\r\n',
  '\r\n ',
)

const requests = [
  'GET /a/b?c=d HTTP/1.1\r\nHost: app.example:8080\r\nAccept: application/json\r\nConnection: keep-alive\r\nX-Forwarded-For: 203.0.113.7, 10.0.0.1:80\r\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\ntracestate: a=b,c=d\r\n\r\n',
  'POST http://app.example/x;p=1/%2e%2e/y HTTP/1.1\r\nHost: app.example\r\nContent-Length: 5\r\nContent-Type: application/json\r\nTE: trailers\r\nExpect: 100-continue\r\n\r\n',
  'GET /chat HTTP/1.1\r\nHost: [2001:db8::1]:80\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
  'PUT / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n',
].map(bytesOf)

export const requestHead: Decoder = {
  name: 'proxy: request head',
  weight: 4,
  samples: requests,
  tokens: HTTP_TOKENS,
  bytesMax: 16 * KIB,
  tries: (input) => {
    const [line = '', ...fields] = latin1(input).split('\r\n')
    const [method = '', url = '', version = ''] = line.split(' ')
    const raw: string[] = []
    for (const field of fields) {
      const colon = field.indexOf(':')
      if (colon >= 0) raw.push(field.slice(0, colon), field.slice(colon + 1).trim())
    }
    const head = parseRequestHead(method, url, version.replace('HTTP/', ''), raw)
    if ('refused' in head) return false
    sourceOf('10.0.0.1', head.forwardedFor, (text) => text.startsWith('10.'))
    parseTraceparent(head.traceparent, head.tracestate)
    connectionTokens(raw.join(','))
    readingsOf(head.target)
    must(head.path.startsWith('/') || head.path === '*', `the path ${head.path}`)
    must(!/[\r\n\0]/.test(head.target + head.authority), 'a line break in what is sent on')
    return true
  },
  isDeclared: never,
}

const responses = [
  'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nServer: x\r\n\r\nhello',
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA;x=y\r\n0123456789\r\n0\r\nTrailer: a\r\n\r\n',
  'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n',
  'HTTP/1.0 200 OK\r\nConnection: close\r\n\r\nuntil the end',
  'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nrest',
].map(bytesOf)

/** What it says, without the note that its bytes came before: that is so of whatever is read twice. */
const said = (head: ResponseHead): string =>
  JSON.stringify(head, (key, value: unknown) => (key === 'repeats' ? undefined : value))

/** What came of a response, in one text: heads, body, trailers, problem. */
function readResponse(parts: readonly Buffer[], upgradeAsked: boolean): { readonly story: string; readonly good: boolean } {
  const story: string[] = []
  const body: Buffer[] = []
  const parser = new ResponseParser(8 * KIB, {
    onInterim: (head) => story.push(`interim ${said(head)}`),
    onHead: (head) => story.push(`head ${said(head)}`),
    onBody: (bytes) => body.push(Buffer.from(bytes)),
    onEnd: (trailers) => story.push(`end ${trailers.join('|')}`),
    onUpgrade: (head) => story.push(`upgrade ${said(head)}`),
  })
  parser.begin('GET', upgradeAsked)
  let problem: string | undefined
  for (const part of parts) {
    problem = parser.push(part)
    if (problem !== undefined) break
  }
  problem ??= story.some((line) => line.startsWith('upgrade')) ? undefined : parser.close()
  story.push(`body ${Buffer.concat(body).toString('latin1')}`)
  return { story: story.join('\n'), good: problem === undefined }
}

export const response: Decoder = {
  name: 'proxy: response parser',
  weight: 4,
  samples: responses,
  tokens: HTTP_TOKENS,
  bytesMax: 32 * KIB,
  tries: (input) => {
    const whole = readResponse([Buffer.from(input)], true)
    const split = readResponse(pieces(input), true)
    must(whole.good === split.good, 'another split of the bytes is another answer')
    must(!whole.good || whole.story === split.story, 'another split of the bytes gives another response')
    return whole.good
  },
  isDeclared: never,
}

const TYPES = [
  'application/x-www-form-urlencoded',
  'multipart/form-data; boundary=XX',
  'application/json',
  'application/xml',
  'text/plain',
  '',
]

const form = bytesOf('a=1&b=%41%20c&c=+&d[]=e&%u0041=x')

const multipart = bytesOf(
  '--XX\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--XX\r\nContent-Disposition: form-data; name="f"; filename="x.php"\r\nContent-Type: text/plain\r\n\r\n<?php\r\n--XX--\r\n',
)

export const body: Decoder = {
  name: 'waf: request bodies',
  weight: 2,
  samples: [
    form,
    multipart,
    bytesOf('{"a":{"b":[1,2,{"c":"d"}]},"e":null}'),
    bytesOf('<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]><a x="y"><b>&b;</b><![CDATA[d]]><!-- e --></a>'),
    bytesOf('session=abc; other="d e"; f=g'),
  ],
  tokens: tokens(
    '%',
    '%u',
    '&',
    '=',
    ';',
    '--XX',
    '--XX--',
    '\r\n',
    'name="',
    "filename*=UTF-8''",
    '<!ENTITY',
    '<![CDATA[',
    ']]>',
    '{"',
    '[',
    '\\u',
    '\0',
    '&#x',
  ),
  bytesMax: 128 * KIB,
  tries: (input) => {
    const text = bytesToText(Buffer.from(input))
    const cut = input.length % 2 === 0
    let good = false
    for (const type of TYPES) good = parseRequestBody(text, type, cut).error === undefined && good
    readFields(input, TYPES[input.length % TYPES.length] as string)
    parseCookies(text)
    return parseRequestBody(text, TYPES[0] as string, cut).error === undefined || good
  },
  isDeclared: never,
}

export const target: Decoder = {
  name: 'guard: routing path',
  weight: 4,
  samples: ['/a/b/../c', '/a%2fb/%2e%2e/c;x=1?q=1', '/%C3%A9', '//a///b/./', 'http://h/a', '*', '/a\\b'].map(bytesOf),
  tokens: tokens('%2e', '%2f', '..', '.', '/', ';', '%', '%25', '\\', '%C3', '?', '#'),
  bytesMax: 8 * KIB,
  tries: (input) => {
    const text = latin1(input)
    const routing = normalizeRoutingPath(text)
    readingsOf(text)
    if (routing === undefined) return false
    must(!/\/\.\.?(?:\/|$)|\/\//.test(routing.path), `dot segments or empty ones are left: ${JSON.stringify(routing.path)}`)
    return true
  },
  isDeclared: never,
}

export const rules: Decoder = {
  name: 'waf: rules',
  weight: 0.1,
  samples: [
    bytesOf('SecRule ARGS "@rx (?i)union\\s+select" "id:1,phase:2,deny,t:none,t:urlDecodeUni,msg:\'x\',severity:CRITICAL"\n'),
    bytesOf(
      'SecAction "id:2,phase:1,nolog,pass,setvar:tx.a=1"\nSecRule TX:a "@eq 1" \\\n  "id:3,phase:1,pass,chain"\nSecRule REQUEST_URI "@pm a b c" "t:lowercase"\n',
    ),
    bytesOf(
      'SecRule REQUEST_HEADERS:User-Agent|!ARGS:x "@within %{tx.a}" "id:4,phase:1,block,ctl:ruleRemoveById=1-3"\n# c\nSecMarker END\n',
    ),
  ],
  tokens: tokens(
    '"',
    "'",
    '\\',
    ',',
    ':',
    '|',
    '!',
    '&',
    '@rx ',
    '(?',
    '[',
    '(a+)+',
    '{1000}',
    'id:',
    't:',
    'chain',
    'SecRule ',
    '%{',
    '}',
    '\n',
    '\\\n',
  ),
  bytesMax: 8 * KIB,
  msPerKiB: 60,
  tries: (input) => compileRules([{ file: 'fuzz.conf', text: textOf(input) }], { paranoia: 4 }).ruleCount >= 0,
  isDeclared: (error) => error instanceof RuleSyntaxError,
}
