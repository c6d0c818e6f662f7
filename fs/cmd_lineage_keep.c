/* meshfs lineage verify, prune: is the record whole; how long is it kept. */
#include "catalog/base/buf.h"
#include "catalog/base/clock.h"
#include "catalog/base/io.h"
#include "catalog/base/json.h"
#include "catalog/base/text.h"
#include "catalog/db.h"
#include "catalog/lineage.h"
#include "catalog/lineage_seal.h"
#include "catalog/mesh.h"
#include "fs/cmd_lineage.h"
#include "fs/drain.h"
#include "fs/lineage_sync.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "SEQ CHAIN\n", the newest line last: an operator's file, on another machine if he is wise. */
static int read_head(const char *path, struct lineage_head *ret, struct err *e)
{
	struct buf b = BUF_INIT;
	struct err why = ERR_INIT;
	int r = io_read_file(path, 1 << 20, &b, &why);
	ret->seq = 0;
	if (r == -ENOENT) {
		buf_free(&b);
		return 0; /* the first time */
	}
	if (r)
		return err_move(e, &why);
	while (b.len && b.data[b.len - 1] == '\n')
		b.data[--b.len] = '\0';
	const char *line = b.len ? strrchr(b.data, '\n') : NULL;
	line = line ? line + 1 : buf_text(&b);
	long long seq;
	if (b.len && (sscanf(line, "%lld %64[0-9a-f]", &seq, ret->chain) != 2 || strlen(ret->chain) != 64 || seq < 0))
		r = err_at(e, path, 0, 0, "not a head that 'meshfs lineage verify --head' wrote");
	else if (b.len)
		ret->seq = seq;
	buf_free(&b);
	return r;
}

struct report {
	bool json;
	int64_t offences;
};

static void found(void *arg, enum lineage_finding kind, const char *what)
{
	struct report *report = arg;
	const char *word = kind == LINEAGE_CHANGED ? "changed" : "note";
	report->offences += kind == LINEAGE_CHANGED;
	if (!report->json) {
		printf("%s: %s\n", word, what);
		return;
	}
	struct buf b = BUF_INIT;
	struct json j;
	json_start(&j, &b);
	json_open(&j, '{');
	json_field_text(&j, word, what);
	json_close(&j, '}');
	printf("%s\n", buf_text(&b));
	buf_free(&b);
}

static int write_head(struct lineage *l, const char *path, struct err *e)
{
	struct lineage_head head;
	int r = lineage_seal_head(l, &head, e);
	if (r || !head.seq)
		return r;
	r = db_exec(lineage_db(l), "PRAGMA wal_checkpoint(PASSIVE)", e); /* a power cut must not leave a head that is ahead of its seals */
	if (r)
		return r;
	char *text = text_format("%lld %s\n", (long long)head.seq, head.chain);
	r = text ? io_write_output(path, text, strlen(text), 0600, e) : err_set(e, -ENOMEM, "no memory for the head");
	free(text);
	return r;
}

static int verify(struct lineage *l, const struct mesh_config *mesh, const char *head_file, bool json, struct err *e)
{
	struct lineage_head kept = { 0, "" }, head;
	struct lineage_verified verified = { 0, 0 };
	struct report report = { json, 0 };
	int r = head_file ? read_head(head_file, &kept, e) : 0;
	if (!r)
		r = lineage_verify(l, kept.seq ? &kept : NULL, found, &report, &verified, e);
	if (!r)
		r = lineage_sync_check(l, mesh, found, &report, e);
	if (!r && report.offences)
		r = err_set(e, -EBADMSG, "%s: %lld places were changed by somebody else than meshfs; look at each in a copy kept from before", lineage_path(l),
			    (long long)report.offences);
	if (!r)
		r = lineage_seal_head(l, &head, e);
	if (!r && json)
		printf("{\"seals\":%lld,\"head\":\"%s\"}\n", (long long)verified.seals, head.chain);
	else if (!r)
		printf("%lld seals hold; the chain's head is %s\n", (long long)verified.seals, head.chain);
	return r || !head_file ? r : write_head(l, head_file, e);
}

int lineage_verb_verify(const struct invocation *inv, int argc, char **argv, int *ret_status, struct err *e)
{
	const char *head_file = NULL;
	bool json = false;
	const struct option_spec specs[] = {
		{ "--head", 0, OPTION_TEXT, "FILE", "compare with the chain's head kept there, then keep the new one", &head_file },
		{ "--json", 0, OPTION_FLAG, NULL, "one JSON object a line", &json },
	};
	int words;
	(void)ret_status;
	int r = options_parse("lineage verify [--head FILE]", "Recomputes every seal: finds edited, removed, reordered and truncated rows.", specs, 2, false,
			      argc, argv, &words, e);
	if (r)
		return r == OPTIONS_HELP ? 0 : r;
	if (words)
		return options_wrong(e, "lineage", "%s: one word too many", argv[0]);
	struct mesh_config *mesh = NULL;
	struct lineage *l = NULL;
	r = mesh_open(inv->mesh_path, &mesh, e);
	if (!r)
		r = drain_open(mesh, &l, e);
	if (!r)
		r = verify(l, mesh, head_file, json, e);
	lineage_close(l);
	mesh_config_free(mesh);
	return r;
}

/* -- prune ------------------------------------------------------------------------------------- */

/* What is to be deleted; reads that the mesh keeps are not. */
static int prune_before(const struct mesh_config *mesh, const char *before, int64_t now_ns, int64_t *ret_ns, struct err *e)
{
	const int64_t kept_ns = now_ns - mesh->lineage_keep_ms * 1000000;
	char text[CLOCK_TEXT_MAX];
	*ret_ns = kept_ns;
	if (!before && !mesh->lineage_keep_ms)
		return options_wrong(e, "lineage prune", "lineage prune: wants --before DATE, such as 2026-01-31, or lineage.keep in %s", mesh->path);
	if (!before)
		return 0;
	if (clock_parse(before, ret_ns))
		return options_wrong(e, "lineage prune", "--before %s: it is no date; one is 2026-01-31, or 2026-01-31T12:00:00Z", before);
	if (!mesh->lineage_keep_ms || *ret_ns <= kept_ns)
		return 0;
	clock_format_local(kept_ns, text);
	return err_set_kind(e, ERR_REFUSED, -EPERM, "lineage.keep in %s keeps reads since %s: --before cannot be later", mesh->path, text);
}

static void print_pruned(const struct lineage_prune *p, bool json)
{
	struct buf b = BUF_INIT;
	struct json j;
	char before[CLOCK_TEXT_MAX];
	if (json) {
		json_start(&j, &b);
		json_open(&j, '{');
		json_field_time(&j, "before", p->before_ns);
		json_field_int(&j, "runs", p->runs);
		json_field_int(&j, "reads", p->rows);
		json_field_bool(&j, "dry_run", p->dry_run);
		json_close(&j, '}');
		printf("%s\n", buf_text(&b));
	} else {
		clock_format_local(p->before_ns, before);
		printf(p->dry_run ? "%lld runs have reads from before %s: %lld in all; nothing was deleted\n" : "%lld runs pruned of what is from before %s: %lld reads deleted\n",
		       (long long)p->runs, before, (long long)p->rows);
	}
	buf_free(&b);
}

int lineage_verb_prune(const struct invocation *inv, int argc, char **argv, int *ret_status, struct err *e)
{
	const char *before = NULL;
	struct lineage_prune p = { .now_ns = clock_now_ns() };
	bool json = false;
	const struct option_spec specs[] = {
		{ "--before", 0, OPTION_TEXT, "DATE", "what is older than this (2026-11-22, or with a time); default: what is older than lineage.keep", &before },
		{ "--dry-run", 0, OPTION_FLAG, NULL, "only say how much that is", &p.dry_run },
		{ "--json", 0, OPTION_FLAG, NULL, "one JSON object: before runs reads dry_run", &json },
	};
	int words;
	(void)ret_status;
	int r = options_parse("lineage prune [--before DATE] [--dry-run]",
			      "Deletes the reads of runs that ended before DATE, and the days before it of runs that go on.\n"
			      "What each run read by version, what it made, and its seals stay.",
			      specs, 3, false, argc, argv, &words, e);
	if (r)
		return r == OPTIONS_HELP ? 0 : r;
	if (words)
		return options_wrong(e, "lineage prune", "%s: one word too many", argv[0]);
	struct mesh_config *mesh = NULL;
	struct lineage *l = NULL;
	r = mesh_open(inv->mesh_path, &mesh, e);
	if (!r)
		r = prune_before(mesh, before, p.now_ns, &p.before_ns, e);
	if (!r)
		r = drain_open(mesh, &l, e);
	if (!r)
		r = lineage_prune(l, &p, e);
	if (!r && (!inv->quiet || json || p.dry_run))
		print_pruned(&p, json);
	if (!r && p.changed)
		r = err_set(e, -EBADMSG, "%s: %lld days of runs were changed after they were sealed, and are kept: ask 'meshfs lineage verify'",
			    lineage_path(l), (long long)p.changed);
	lineage_close(l);
	mesh_config_free(mesh);
	return r;
}
