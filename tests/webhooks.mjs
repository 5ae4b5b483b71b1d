// What a receiver of webhooks does, with the libraries that receivers use. Reads one JSON value from standard input:
//   {"verify": {secret, headers, body}}     prints what each library says: {"svix": true, "standardwebhooks": true}
//   {"schema": …, "messages": [text, …]}    prints what is wrong with each message; an empty list: nothing
import { Webhook as Svix } from "svix";
import { Webhook as Standard } from "standardwebhooks";
import Ajv from "ajv/dist/2020.js";
import addFormats from "ajv-formats";

let text = "";
for await (const part of process.stdin) text += part;
const asked = JSON.parse(text);

if (asked.verify) {
  const { secret, headers, body } = asked.verify;
  const says = (library) => {
    try {
      return JSON.stringify(new library(secret).verify(body, headers)) === JSON.stringify(JSON.parse(body));
    } catch {
      return false;
    }
  };
  console.log(JSON.stringify({ svix: says(Svix), standardwebhooks: says(Standard) }));
} else {
  const ajv = new Ajv({ strict: true, strictRequired: false, allErrors: true });
  addFormats(ajv);
  const validate = ajv.compile(asked.schema);
  console.log(JSON.stringify(asked.messages.map((message) =>
    validate(JSON.parse(message)) ? "" : ajv.errorsText(validate.errors) + " in " + message)));
}
