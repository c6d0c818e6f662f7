/*
 * Writing mesh files: a new one, and a domain inserted into one that a person wrote.
 *
 * An insertion changes text, so that comments and layout stay.  Where the parser's positions leave a choice, one place after the other
 * is tried; a result counts only when it parses and says exactly what the old file said and the new domain.
 */
#include "catalog/address.h"
#include "catalog/base/buf.h"
#include "catalog/base/doc.h"
#include "catalog/base/io.h"
#include "catalog/base/json.h"
#include "catalog/base/text.h"
#include "catalog/mesh.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define INDENT_MAX 32

/* -- a new mesh ---------------------------------------------------------------------------- */

static const char mesh_text[] =
	"# The mesh: its domains, the global policy and the settings of this host.\n"
	"# Every key is explained in meshfs(1); unknown keys are errors.\n"
	"mesh: %s\n"
	"\n"
	"# Domains own data. 'meshfs domain add NAME URL' adds one here and keeps your comments.\n"
	"#   sales:  { store: \"file:///srv/sales\", owner: \"Sales <sales@example.org>\" }\n"
	"#   health: { store: \"s3://health-data/mesh\", endpoint: \"http://127.0.0.1:9000\", region: us-east-1 }\n"
	"#   public: { store: \"https://data.example.org/mesh\" }    # read only\n"
	"domains:\n"
	"\n"
	"# Folder of *.policy files, relative to this file.\n"
	"policy: policy/\n"
	"\n"
	"# cache:   { dir: ~/.cache/meshfs, limit: 20GiB }\n"
	"# lineage: { db: lineage.db }           # relative to this file; local disks only\n"
	"# refresh: 5s                           # how soon a mount sees what another host published\n"
	"# timeout: 30s                          # how long a read waits for a store that does not answer\n"
	"# sql_limit: 60s                        # how long the sql checks of a version may take together\n"
	"# keys:    { train-1: keys/train-1.key } # for 'hmac key ...'; made by 'meshfs policy key new'\n"
	"# views:   [ { group: ds, purpose: training } ]  # subjects whose views are computed at publish\n";

static const char policy_text[] =
	"# The mesh's own rules. They hold for every domain; a domain can tighten them and never loosen them.\n"
	"# Without a rule here everything is as the domains permit it (policy/<domain>.policy).\n"
	"# 'meshfs policy check' reads this file, 'meshfs policy explain ADDRESS' says what it decides and why;\n"
	"# meshfs-policy(5) explains the language. Some rules to start from:\n"
	"#\n"
	"# Training reads personal data only as keyed tokens, which still join:\n"
	"#   mask no-direct-pii\n"
	"#     columns tagged pii\n"
	"#     when    purpose in {training, fine-tuning}\n"
	"#     with    hmac key train-1\n"
	"#     reason  \"minimise before training\"\n"
	"#\n"
	"# Training is always attributed to a run:\n"
	"#   require run-id\n"
	"#     when    purpose == training\n"
	"#     have    run\n"
	"#\n"
	"# Versions whose checks fail are not trained on:\n"
	"#   deny low-quality\n"
	"#     when    purpose == training\n"
	"#     when    product.quality.failed_errors > 0\n"
	"#     reason  \"quality gate\"\n"
	"\n"
	"policy mesh scope mesh version 1\n";

static int create_in(const char *folder, const char *name, const char *path, const char *policies, struct err *e)
{
	char *policy = io_join(policies, "mesh.policy"), *text = text_format(mesh_text, name);
	int r = policy && text ? 0 : err_set(e, -ENOMEM, "%s: out of memory", folder);
	if (!r && !access(path, F_OK))
		r = err_set(e, -EEXIST, "%s: a mesh is there already; it was left as it is", path);
	if (!r)
		r = io_make_folders(policies, 0755, e);
	if (!r && access(policy, F_OK))
		r = io_write_file(policy, policy_text, strlen(policy_text), 0644, e);
	if (!r)
		r = io_write_file(path, text, strlen(text), 0644, e);
	free(policy);
	free(text);
	return r;
}

int mesh_create(const char *folder, const char *name, struct err *e)
{
	int r = name_check("mesh", name, e);
	if (!r)
		r = io_make_folders(folder, 0755, e);
	if (r)
		return r;
	char *path = io_join(folder, "mesh.yaml"), *policies = io_join(folder, "policy");
	r = path && policies ? create_in(folder, name, path, policies, e) : err_set(e, -ENOMEM, "%s: out of memory", folder);
	free(path);
	free(policies);
	return r;
}

/* -- an inserted domain -------------------------------------------------------------------- */

struct insertion {
	const char *path;
	const char *text; /* the file as it is; a NUL byte follows */
	size_t len;
	const char *eol;
	struct doc *doc;
	const struct mesh_domain *domain;
	char *entry; /* `name: { store: "…" }` */
	struct err *e;
};

static char *make_entry(const struct mesh_domain *d)
{
	const struct {
		const char *key, *value;
	} fields[] = { { "store", d->store }, { "endpoint", d->endpoint }, { "region", d->region }, { "owner", d->owner } };
	struct buf out = BUF_INIT;
	struct json j;
	buf_addf(&out, "%s: {", d->name);
	for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
		if (!fields[i].value)
			continue;
		buf_addf(&out, "%s%s: ", out.data && out.data[out.len - 1] == '{' ? " " : ", ", fields[i].key);
		json_start(&j, &out);
		json_text(&j, fields[i].value);
	}
	buf_adds(&out, d->single_writer ? ", single_writer: true }" : " }");
	return buf_take(&out);
}

/* The offset of the start of a line (from 1); past the last line, the end of the text. */
static size_t line_start(const struct insertion *in, int line)
{
	size_t at = 0;
	while (--line > 0) {
		const char *nl = memchr(in->text + at, '\n', in->len - at);
		if (!nl)
			return in->len;
		at = (size_t)(nl - in->text) + 1;
	}
	return at;
}

static size_t next_line(const struct insertion *in, size_t at)
{
	const char *nl = memchr(in->text + at, '\n', in->len - at);
	return nl ? (size_t)(nl - in->text) + 1 : in->len;
}

/* The offset of a position whose column counts characters. */
static size_t offset_of(const struct insertion *in, int line, int column)
{
	size_t at = line_start(in, line);
	while (column > 1 && at < in->len) {
		at++;
		while (at < in->len && ((unsigned char)in->text[at] & 0xc0) == 0x80)
			at++;
		column--;
	}
	return at;
}

static void say_domain(const struct mesh_domain *d, struct buf *out)
{
	buf_addf(out, "%s\n%s\n%s\n%s\n%s\n%d\n", d->name, d->store, d->endpoint ? d->endpoint : "", d->region ? d->region : "",
		 d->owner ? d->owner : "", d->single_writer);
}

/* Everything that the file says, domains aside. */
static void say_rest(const struct doc *doc, struct buf *out)
{
	const struct doc_node *root = doc_root(doc);
	for (size_t i = 0; i < doc_count(root); i++) {
		if (!strcmp(doc_key(root, i), "domains"))
			continue;
		buf_addf(out, "%s=", doc_key(root, i));
		doc_to_json(doc_item(root, i), out);
	}
}

/* Does `text` say what the old file says, and the new domain?  (Domains may stand in another order.) */
static bool says_the_same(const struct insertion *in, const struct buf *text)
{
	struct mesh_config *before = NULL, *after = NULL;
	struct doc *doc = NULL;
	struct buf a = BUF_INIT, b = BUF_INIT;
	bool same = !mesh_parse(in->path, in->text, in->len, &before, NULL) && !mesh_parse(in->path, buf_text(text), text->len, &after, NULL) &&
		    !doc_parse(in->path, buf_text(text), text->len, &doc, NULL) && after->domain_count == before->domain_count + 1;
	if (same) {
		say_rest(in->doc, &a);
		say_rest(doc, &b);
	}
	for (size_t i = 0; same && i <= before->domain_count; i++) {
		const struct mesh_domain *expected = i < before->domain_count ? &before->domains[i] : in->domain;
		const struct mesh_domain *found = mesh_domain_find(after, expected->name);
		if (found)
			say_domain(found, &b);
		say_domain(expected, &a);
	}
	same = same && !buf_check(&a) && !buf_check(&b) && a.len == b.len && !memcmp(buf_text(&a), buf_text(&b), a.len);
	buf_free(&a);
	buf_free(&b);
	doc_free(doc);
	mesh_config_free(before);
	mesh_config_free(after);
	return same;
}

/* The text with [from, to) replaced by `piece`, into `out`; true when it says what it should. */
static bool try_splice(const struct insertion *in, size_t from, size_t to, const char *piece, struct buf *out)
{
	buf_clear(out);
	buf_add(out, in->text, from);
	buf_adds(out, piece);
	buf_add(out, in->text + to, in->len - to);
	return !buf_check(out) && says_the_same(in, out);
}

/* A line of its own at `at`, the start of a line or the end of the text. */
static bool try_line(const struct insertion *in, size_t at, int indent, struct buf *out)
{
	bool torn = at > 0 && in->text[at - 1] != '\n'; /* the last line has no end */
	char *piece = text_format("%s%*s%s%s", torn ? in->eol : "", indent, "", in->entry, in->eol);
	bool done = piece && try_splice(in, at, at, piece, out);
	free(piece);
	return done;
}

/* The first line after `at` that stands left of `indent`, not counting blank lines and comments in front of it that stand left too. */
static size_t end_of_block(const struct insertion *in, size_t at, int indent)
{
	size_t end = at = next_line(in, at);
	for (; at < in->len; at = next_line(in, at)) {
		size_t depth = strspn(in->text + at, " ");
		char c = in->text[at + depth];
		if (c == '\n' || c == '\r')
			continue;
		if (c == '#' && depth < (size_t)indent)
			continue;
		if (depth < (size_t)indent)
			break;
		end = next_line(in, at);
	}
	return end;
}

/* Behind the last domain of a block map, else in front of the first. */
static bool into_block(const struct insertion *in, const struct doc_node *map, struct buf *out)
{
	const struct doc_node *first = doc_key_node(map, 0), *last = doc_key_node(map, doc_count(map) - 1);
	int indent = doc_column(first) - 1;
	if (indent < 0 || indent > INDENT_MAX)
		return false;
	return try_line(in, end_of_block(in, line_start(in, doc_line(last)), indent), indent, out) ||
	       try_line(in, line_start(in, doc_line(first)), indent, out);
}

/* Past a quoted text that starts at `at`. */
static size_t skip_quoted(const struct insertion *in, size_t at)
{
	char quote = in->text[at++];
	while (at < in->len && in->text[at] != quote)
		at += in->text[at] == '\\' && quote == '"' ? 2 : 1;
	return at + 1;
}

/* The brace that closes the one at `at`; in->len when there is none. */
static size_t closing_brace(const struct insertion *in, size_t at)
{
	int depth = 0;
	while (at < in->len) {
		char c = in->text[at];
		if (c == '"' || c == '\'') {
			at = skip_quoted(in, at);
			continue;
		}
		if (c == '#' && strchr(" \t\n", in->text[at - 1]))
			at = next_line(in, at) - 1;
		else if (c == '{' || c == '[')
			depth++;
		else if ((c == '}' || c == ']') && --depth == 0)
			return at;
		at++;
	}
	return in->len;
}

/* Into `{ a: …, b: … }`, right behind its first brace when behind the last entry does not do (a comment there, for example). */
static bool into_flow(const struct insertion *in, size_t open, struct buf *out)
{
	size_t close = closing_brace(in, open);
	if (close >= in->len)
		return false;
	size_t end = close;
	while (end > open + 1 && strchr(" \t\r\n", in->text[end - 1]))
		end--;
	bool comma = in->text[end - 1] == ',';
	bool empty = end == open + 1;
	char *behind = text_format("%s%s%s", empty ? " " : comma ? " " : ", ", in->entry, end == close ? " " : "");
	char *front = text_format(" %s%s", in->entry, empty ? " " : ",");
	bool done = (behind && try_splice(in, end, end, behind, out)) || (front && try_splice(in, open + 1, open + 1, front, out));
	free(behind);
	free(front);
	return done;
}

/* `domains:` without a domain: a new line beneath it; what stood for "none" (`{}`, `~`, `null`) goes. */
static bool into_empty(const struct insertion *in, const struct doc_node *key, struct buf *out)
{
	size_t at = offset_of(in, doc_line(key), doc_column(key)), line_end = next_line(in, at);
	const char *colon = memchr(in->text + at, ':', line_end - at);
	int indent = doc_column(key) - 1 + 2;
	if (!colon)
		return false;
	size_t value = (size_t)(colon - in->text) + 1, end = value;
	end += strspn(in->text + end, " \t");
	if (in->text[end] == '{') {
		size_t close = closing_brace(in, end);
		if (close >= line_end)
			return false;
		end = close + 1;
	} else if (in->text[end] == '~') {
		end++;
	} else if (!strncmp(in->text + end, "null", 4)) {
		end += 4;
	} else {
		return try_line(in, line_end, indent, out);
	}
	/* "domains: {}  # none yet": the comment stays on its line. */
	size_t rest = line_end;
	while (rest > end && strchr("\r\n", in->text[rest - 1]))
		rest--;
	char *piece = text_format("%.*s%s%*s%s%s", (int)(rest - end), in->text + end, in->eol, indent, "", in->entry, in->eol);
	bool done = piece && try_splice(in, value, line_end, piece, out);
	free(piece);
	return done;
}

static bool insert(const struct insertion *in, struct buf *out)
{
	const struct doc_node *root = doc_root(in->doc), *key = NULL, *map = NULL;
	for (size_t i = 0; i < doc_count(root); i++) {
		if (!strcmp(doc_key(root, i), "domains")) {
			key = doc_key_node(root, i);
			map = doc_item(root, i);
		}
	}
	if (!key) {
		bool torn = in->len && in->text[in->len - 1] != '\n';
		char *piece = text_format("%s%sdomains:%s  %s%s", torn ? in->eol : "", in->len ? in->eol : "", in->eol, in->entry, in->eol);
		bool done = piece && try_splice(in, in->len, in->len, piece, out);
		free(piece);
		return done;
	}
	if (doc_count(map)) {
		size_t open = offset_of(in, doc_line(map), doc_column(map));
		if (open < in->len && in->text[open] == '{')
			return into_flow(in, open, out);
		return into_block(in, map, out);
	}
	return into_empty(in, key, out);
}

int mesh_insert_domain(const char *path, const char *text, size_t len, const struct mesh_domain *d, struct buf *ret, struct err *e)
{
	struct insertion in = { .path = path, .text = text, .len = len, .domain = d, .e = e, .eol = "\n" };
	struct mesh_config *config = NULL;
	int r = mesh_parse(path, text, len, &config, e); /* an error that was there before is told first */
	if (!r && mesh_domain_find(config, d->name))
		r = err_set(e, -EEXIST, "%s: domain %s is there already", path, d->name);
	mesh_config_free(config);
	if (!r)
		r = doc_parse(path, text, len, &in.doc, e);
	if (!r && !(in.entry = make_entry(d)))
		r = err_set(e, -ENOMEM, "%s: out of memory", path);
	if (len && memmem(text, len, "\r\n", 2))
		in.eol = "\r\n";
	if (!r && !insert(&in, ret))
		r = err_set_kind(e, ERR_PARSE, -EINVAL, "%s: found no place to insert the domain; add this line under 'domains:' yourself: %s",
				 path, in.entry);
	free(in.entry);
	doc_free(in.doc);
	return r;
}

/* Two commands that add at once take turns: the lock is on the folder, since the file is replaced. */
static int lock_folder(const char *path, struct err *e)
{
	char *folder = strdup(path);
	if (!folder)
		return err_set(e, -ENOMEM, "%s: out of memory", path);
	char *slash = strrchr(folder, '/');
	slash[slash == folder] = '\0';
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		err_set(e, fd = -errno, "%s: %s", folder, strerror(errno));
	else
		while (flock(fd, LOCK_EX) && errno == EINTR)
			;
	free(folder);
	return fd;
}

int mesh_add_domain(const char *path, const struct mesh_domain *d, struct err *e)
{
	struct buf text = BUF_INIT, out = BUF_INIT;
	struct stat st;
	int r = name_check("domain", d->name, e);
	if (r)
		return r;
	char *real = realpath(path, NULL); /* a link to the file stays one */
	if (!real || stat(real, &st)) {
		r = err_set(e, -errno, "%s: %s", path, strerror(errno));
		free(real);
		return r;
	}
	int lock = lock_folder(real, e);
	r = lock < 0 ? lock : io_read_file(real, DOC_BYTES_MAX, &text, e);
	if (!r)
		r = mesh_insert_domain(real, buf_text(&text), text.len, d, &out, e);
	if (!r)
		r = io_write_file(real, out.data, out.len, st.st_mode & 07777, e);
	if (lock >= 0)
		close(lock);
	buf_free(&text);
	buf_free(&out);
	free(real);
	return r;
}
