/** What the simulated ring has in force. */
import { CRAWLER_PREFIX } from './people.ts'

export const POLICY = `version: 1
services:
  shop:
    hosts: [shop.example]
    upstreams:
      - url: http://127.0.0.1:9
    waf: { mode: off, rules: [] }
    routes:
      - { name: login, path: /login, login: { account: email } }
      - { name: signup, path: /signup, signup: { account: email } }
      - { name: reset, path: /reset }
      - { name: password, path: /account/password }
      - { name: email, path: /account/email }
      - { name: account, path: /account }
      - { name: orders, path: /orders }
      - { name: products, path: /products }
      - { name: assets, path: /assets }
      - { name: export, path: /api/export }
      - { name: coupon, path: /coupon }
bots:
  engines: { userAgent: engine, prefixes: [${CRAWLER_PREFIX}] }
detectors:
  failedLogins: {}
  slowLogins: {}
`
