// Reads EMLs on standard input, each as a line of base64, and says what every parser makes of each: a line of JSON.
// Runs in the folder that has node_modules.
import { createHash } from "node:crypto";
import { createRequire, registerHooks } from "node:module";
import { createInterface } from "node:readline";

// The one published jsmime is written for bundlers: it names its own modules without their ending.
registerHooks({
  resolve(specifier, context, next) {
    const bare = specifier.startsWith("./") && context.parentURL?.includes("/@protontech/jsmimeparser/");
    return next(bare && !specifier.endsWith(".js") ? `${specifier}.js` : specifier, context);
  },
});
const require = createRequire(`${process.cwd()}/`);
const { MailParser, simpleParser } = require("mailparser");
const { default: PostalMime, decodeWords } = require("postal-mime");
const { MimeParser, headerparser } = require("@protontech/jsmimeparser/lib/jsmime.js");
const { libmime } = new MailParser();

// A body comes in its canonical form, with CR LF (RFC 2045, 6.8); the other two parsers give back LF by themselves.
const lines = (text) => text.replaceAll("\r\n", "\n");
const ids = (text) => text.split(/\s+/).filter(Boolean);
const digest = (content) => createHash("sha256").update(content).digest("hex");
const people = (addresses = []) => addresses.map(({ name, address, email }) => [name, address ?? email]);

// jsmime's own parseMail decodes a body in two pieces, and spoils a character that lies across them; so its parser is
// asked for octets. What is body and what attachment is parseMail's rule.
function partsByJsmime(eml) {
  const parts = [];
  const emitter = {
    startPart(_, headers) {
      const [disposition = ""] = headers.getRawHeader("Content-Disposition") ?? [];
      const { type } = headers.contentType;
      parts.push({ headers, type, disposition: headerparser.parseParameterHeader(disposition, true, true), pieces: [] });
    },
    deliverPartData(_, octets) {
      parts.at(-1).pieces.push(octets);
    },
  };
  const onerror = (error) => {
    throw error;
  };
  const parser = new MimeParser(emitter, { bodyformat: "decode", strformat: "typedarray", onerror });
  parser.deliverData(eml.toString("latin1"));
  parser.deliverEOF();
  return parts.map((part) => ({ ...part, content: Buffer.concat(part.pieces) }));
}

const isBody = ({ type, disposition }) =>
  disposition.preSemi !== "attachment" && ["text/plain", "text/html"].includes(type);
const textOf = ({ headers, content }) => {
  const charset = headers.contentType.get("charset");
  return lines(new TextDecoder(charset, { fatal: true, ignoreBOM: true }).decode(content));
};

const parsers = {
  async mailparser(eml) {
    const mail = await simpleParser(eml, { checksumAlgo: false, keepCidLinks: true, skipTextToHtml: true });
    const value = (name) => [mail.headers.get(name)].flat();
    return {
      from: people(mail.from?.value),
      to: people(mail.to?.value),
      cc: people(mail.cc?.value),
      subject: mail.subject,
      date: mail.date,
      messageId: mail.messageId,
      inReplyTo: mail.inReplyTo,
      references: [mail.references].flat(),
      // It has decoded the headers that it knows, and them alone.
      headers: mail.headerLines.map(({ key }) => {
        const isKnown = !key.startsWith("x-") && !key.startsWith("thread-");
        return [key, isKnown ? value(key)[0] : value(key).map((text) => libmime.decodeWords(text)).join("\n")];
      }),
      text: mail.text ?? "",
      html: mail.html || null,
      attachments: mail.attachments.map((each) => ({
        name: each.filename,
        type: each.headers.get("content-type").value,
        disposition: each.contentDisposition,
        contentId: each.contentId ?? null,
        sha256: digest(each.content),
      })),
    };
  },

  async "postal-mime"(eml) {
    const mail = await PostalMime.parse(eml);
    return {
      from: people([mail.from]),
      to: people(mail.to),
      cc: people(mail.cc),
      subject: mail.subject,
      date: mail.date,
      messageId: mail.messageId,
      inReplyTo: mail.inReplyTo,
      references: ids(mail.references),
      headers: mail.headers.map(({ key, value }) => [key, decodeWords(value)]),
      text: lines(mail.text ?? ""),
      html: mail.html === undefined ? null : lines(mail.html),
      attachments: mail.attachments.map((each) => ({
        name: each.filename,
        type: each.mimeType,
        disposition: each.disposition,
        contentId: each.contentId ?? null,
        sha256: digest(Buffer.from(each.content)),
      })),
    };
  },

  async jsmime(eml) {
    const [root, ...parts] = partsByJsmime(eml);
    const bodies = [root, ...parts].filter(isBody);
    const body = (type) => bodies.filter((each) => each.type === type).map(textOf);
    const value = (name) => root.headers.get(name);
    return {
      from: people(value("From")),
      to: people(value("To")),
      cc: people(value("Cc")),
      subject: value("Subject"),
      date: value("Date"),
      messageId: value("Message-ID"),
      inReplyTo: value("In-Reply-To"),
      references: ids(value("References")),
      headers: [...root.headers.keys()].map((name) => [name.toLowerCase(), [value(name)].flat().join("\n")]),
      text: body("text/plain").join("\n"),
      html: body("text/html").join("\n") || null,
      attachments: parts
        .filter((each) => !each.type.startsWith("multipart/") && !isBody(each))
        .map((each) => ({
          name: each.disposition.get("filename"),
          type: each.type,
          disposition: each.disposition.preSemi,
          contentId: each.headers.get("Content-ID")?.[0] ?? null,
          sha256: digest(each.content),
        })),
    };
  },
};

for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  const eml = Buffer.from(line, "base64");
  const readings = {};
  for (const [name, parse] of Object.entries(parsers)) {
    try {
      readings[name] = await parse(eml);
    } catch (error) {
      readings[name] = { error: String(error) };
    }
  }
  process.stdout.write(`${JSON.stringify(readings)}\n`);
}
