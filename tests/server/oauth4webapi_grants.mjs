// SPDX-License-Identifier: Apache-2.0
// Token exchange and JWT bearer by oauth4webapi: prints the answers as one JSON document.
// Usage: node oauth4webapi_grants.mjs MODULE ISSUER GATEWAY_SECRET APPLICATION_SECRET ASSERTION

const [module, issuer, gatewaySecret, applicationSecret, assertion] = process.argv.slice(2);
const oauth = await import(module);

const discovered = await oauth.discoveryRequest(new URL(issuer), { algorithm: "oauth2" });
const as = await oauth.processDiscoveryResponse(new URL(issuer), discovered);
const access = "urn:ietf:params:oauth:token-type:access_token";

const gateway = { client_id: "gw" };
const asGateway = oauth.ClientSecretBasic(gatewaySecret);
const own = await oauth.processClientCredentialsResponse(
  as,
  gateway,
  await oauth.clientCredentialsGrantRequest(as, gateway, asGateway, new URLSearchParams()),
);
const exchanged = await oauth.processGenericTokenEndpointResponse(
  as,
  gateway,
  await oauth.genericTokenEndpointRequest(
    as,
    gateway,
    asGateway,
    "urn:ietf:params:oauth:grant-type:token-exchange",
    new URLSearchParams({
      subject_token: own.access_token,
      subject_token_type: access,
      requested_subject: "gw-1",
    }),
  ),
);
const application = { client_id: "app" };
const vouched = await oauth.processGenericTokenEndpointResponse(
  as,
  application,
  await oauth.genericTokenEndpointRequest(
    as,
    application,
    oauth.ClientSecretPost(applicationSecret),
    "urn:ietf:params:oauth:grant-type:jwt-bearer",
    new URLSearchParams({ assertion, resource: "https://broker.example/" }),
  ),
);
console.log(JSON.stringify({ exchanged, vouched }));
