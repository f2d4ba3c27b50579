// SPDX-License-Identifier: Apache-2.0
// An authorization server made with node-oidc-provider, as its documentation says, for tests.
//
//   node oidc_provider.mjs FOLDER-OF-NODE-MODULES STATE-FILE
//
// The state file is JSON: {"port", "resources": [{"uri", "audience", "scope", "format", "lifetime"}],
// "clients": [client metadata], "introspects": client, "oldest" and "newest": which keys, counted from
// 0, are published, "used": which of them signs}. SIGHUP reads it again. Every "ready N" line says how often it was read; every "keys asked"
// line is one request for the key set. Private keys never leave this process.
import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [modules, stateFile] = process.argv.slice(2);
const found = createRequire(`${modules}/`).resolve('oidc-provider');
const { Provider } = await import(pathToFileURL(found).href);
const memory = join(dirname(found), 'adapters', 'memory_adapter.js');
const { default: MemoryAdapter } = await import(pathToFileURL(memory).href);

// What was issued outlives a change of keys; nothing is dropped for want of room.
const store = new Map();

const keys = [];
function key(number) {
  while (keys.length <= number) {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    keys.push({ ...privateKey.export({ format: 'jwk' }), alg: 'ES256', use: 'sig' });
  }
  return keys[number];
}

function provider(state) {
  const byUri = new Map(state.resources.map((resource) => [resource.uri, resource]));
  // The first key that fits signs: docs/README.md of oidc-provider, "jwks", on rotation.
  const others = [];
  for (let number = state.oldest; number <= state.newest; number += 1) {
    if (number !== state.used) others.push(number);
  }
  const made = new Provider(`http://127.0.0.1:${state.port}`, {
    jwks: { keys: [state.used, ...others].map(key) },
    clients: state.clients,
    adapter: (model) => new MemoryAdapter(model, store),
    clientDefaults: { id_token_signed_response_alg: 'ES256' },
    cookies: { keys: ['only-for-tests'] },
    scopes: ['openid', 'offline_access', ...new Set(state.resources.flatMap((r) => r.scope.split(' ')))],
    ttl: { IdToken: 3600 },
    features: {
      clientCredentials: { enabled: true },
      introspection: { enabled: true, allowedPolicy: (_, client) => client.clientId === state.introspects },
      revocation: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => state.resources[0].uri,
        useGrantedResource: () => true,
        getResourceServerInfo: (_, uri) => {
          const resource = byUri.get(uri);
          if (!resource) throw new Error(`no such resource: ${uri}`);
          return {
            audience: resource.audience,
            scope: resource.scope,
            accessTokenFormat: resource.format,
            accessTokenTTL: resource.lifetime,
            jwt: { sign: { alg: 'ES256' } },
          };
        },
      },
    },
  });
  made.on('server_error', (_, error) => console.error(error));
  return made.callback();
}

let reads = 0;
let answer;
let port;
function read() {
  const state = JSON.parse(readFileSync(stateFile, 'utf8'));
  port = state.port;
  answer = provider(state);
  reads += 1;
}

read();
const server = createServer((request, response) => {
  if (request.url === '/jwks') response.on('finish', () => console.log('keys asked'));
  answer(request, response);
});
server.keepAliveTimeout = 60_000;
server.listen(port, '127.0.0.1', () => console.log(`ready ${reads}`));
process.on('SIGHUP', () => { read(); console.log(`ready ${reads}`); });
for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => process.exit(0));
