/* From counts to results, and their forms: JSON (quality.json) and lines for people. */
#include "catalog/quality.h"

#include "catalog/base/json.h"
#include "catalog/base/text.h"
#include "catalog/quality_check.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct quality_report {
	struct quality_result *results;
	size_t count;
	uint64_t rows;
	int64_t failed_errors, failed_warnings, undeclared;
	struct buf columns; /* JSON */
	bool no_memory;	    /* a text of it is missing */
};

static int result_add(struct quality_report *r, struct quality_result **ret)
{
	struct quality_result *more = realloc(r->results, (r->count + 1) * sizeof *more);
	if (!more)
		return -ENOMEM;
	r->results = more;
	*ret = &more[r->count++];
	memset(*ret, 0, sizeof **ret);
	return 0;
}

/* `text` is a new one, or NULL for want of memory. */
static char *kept(struct quality_report *r, char *text)
{
	r->no_memory |= !text;
	return text;
}

static char *copy(struct quality_report *r, const char *text)
{
	return text ? kept(r, strdup(text)) : NULL;
}

static void describe(struct quality *q, const struct check *c, struct quality_report *report, struct quality_result *r)
{
	const struct contract_object *objects;
	contract_objects(quality_contract(q), &objects);
	const struct contract_object *o = &objects[c->object];
	struct buf expected = BUF_INIT, counted = BUF_INIT;
	check_expected(c, &expected);
	check_counted(c, &counted);
	if (counted.len)
		r->counted = kept(report, text_format("%s%s", c->percent ? "percent of " : "", buf_text(&counted)));
	buf_free(&counted);
	r->check = copy(report, c->name);
	r->object = copy(report, o->name);
	r->column = c->column >= 0 ? copy(report, o->columns[c->column].name) : NULL;
	r->dimension = copy(report, c->dimension);
	r->error = c->error;
	r->expected = kept(report, buf_take(&expected));
}

static int add_offender(struct quality_result *r, const char *file, uint64_t row)
{
	if (r->offender_count == QUALITY_OFFENDERS_MAX)
		return 0;
	r->offenders[r->offender_count].file = strdup(file);
	if (!r->offenders[r->offender_count].file)
		return -ENOMEM;
	r->offenders[r->offender_count++].row = row;
	return 0;
}

static int count_distinct(struct check *c)
{
	int r = c->finished ? 0 : distinct_finish(c->distinct, &c->duplicates, c->places, QUALITY_OFFENDERS_MAX, &c->place_count);
	c->finished = !r;
	return r;
}

/* Why a check of records cannot be answered, or NULL. */
static const char *unanswered(struct quality *q, const struct check *c, char room[ERR_TEXT_MAX])
{
	bool only;
	if (c->kind == CHECK_ENCODING) /* of the bytes that were read here */
		return NULL;
	if (quality_unread(q, c))
		return quality_unread(q, c);
	if (quality_in_parquet(q, c->object, &only) && !only && c->kind == CHECK_DISTINCT)
		return "not checked: Parquet files write values in another way than the files beside them";
	if (!quality_unreadable(q) || c->kind == CHECK_ABSENT || c->kind == CHECK_UNKNOWN || c->kind == CHECK_CLAIMS || c->kind == CHECK_REPEATED)
		return NULL;
	snprintf(room, ERR_TEXT_MAX, "not checked in %s: what is packed in it is damaged, or its name does not end in .csv, .tsv, .psv, .jsonl, .ndjson "
				     "or .parquet (small letters)", quality_unreadable(q));
	return room;
}

/* What the check counted, into *ret; not zero: it could not run, `why` says the reason. */
static int measure(struct quality *q, struct check *c, const struct err *tables, struct quality_result *r, double *ret, struct err *why)
{
	const struct quality_engine *engine = quality_engine_of(q);
	char room[ERR_TEXT_MAX];
	if (c->kind == CHECK_NEVER)
		return err_set(why, -EOPNOTSUPP, "%s", c->detail);
	if (c->kind == CHECK_SQL && !engine)
		return err_set(why, -EOPNOTSUPP, "no SQL engine (DuckDB) was found");
	if (c->kind == CHECK_SQL)
		return tables->code ? err_move(why, tables) : engine->number(engine->arg, c->query, ret, why);
	const char *reason = unanswered(q, c, room);
	if (reason)
		return err_set(why, -EOPNOTSUPP, "%s", reason);
	if (atomic_load(&c->no_memory) || (c->item && atomic_load(&c->item->no_memory)))
		return err_set(why, -ENOMEM, "out of memory");
	struct check *counter = c->same_as ? c->same_as : c;
	double count = (double)atomic_load(&c->wrong), examined = (double)atomic_load(&counter->examined);
	if (c->kind == CHECK_ROWS)
		count = (double)quality_rows(q, c->object);
	if (c->kind == CHECK_DISTINCT) {
		int code = count_distinct(counter);
		if (code)
			return err_set(why, code, "the values could not be compared: %s", strerror(-code));
		count = (double)counter->duplicates;
	}
	for (size_t i = 0; c->kind == CHECK_DISTINCT && i < counter->place_count; i++) {
		uint64_t row;
		const char *file = quality_place(q, counter->places[i], &row);
		if (add_offender(r, file, row))
			return err_set(why, -ENOMEM, "out of memory");
	}
	*ret = c->percent ? (examined > 0 ? 100 * count / examined : 0) : count;
	return 0;
}

/* Without an engine a Parquet file still says its own types: what only follows from the schema then warns, what the contract lists under
 * `quality` fails. */
static bool only_warns(struct quality *q, const struct check *c)
{
	return !c->listed && c->kind != CHECK_NEVER && c->kind != CHECK_SQL && quality_lacks_engine(q, c);
}

static int judge(struct quality *q, struct check *c, const struct err *tables, struct quality_report *report)
{
	struct quality_result *r;
	if (result_add(report, &r))
		return -ENOMEM;
	describe(q, c, report, r);
	struct err why = ERR_INIT;
	int code = measure(q, c, tables, r, &r->measured, &why);
	if (code == -ENOMEM || code == -EINTR)
		return code;
	r->unanswered = code != 0;
	r->engineless = code && only_warns(q, c);
	r->error &= !r->engineless;
	r->passed = !code && check_compare(c, r->measured);
	if (code)
		r->detail = copy(report, why.text);
	else if (c->names.len)
		r->detail = copy(report, c->names.data);
	for (size_t i = 0; !r->passed && !code && i < c->offender_count; i++)
		if (add_offender(r, c->offenders[i].file, c->offenders[i].row))
			return -ENOMEM;
	if (r->passed)
		return 0;
	report->failed_errors += r->error;
	report->failed_warnings += !r->error;
	return 0;
}

/* Files with columns that no object claims: nothing was checked there, and policy denies them under any column rule. */
static int add_unclaimed(struct quality *q, struct quality_report *report)
{
	struct quality_result *r;
	if (!quality_unclaimed(q))
		return 0;
	if (result_add(report, &r))
		return -ENOMEM;
	r->check = copy(report, "unclaimed files");
	r->expected = copy(report, "every tabular file belongs to an object of the contract");
	r->detail = copy(report, quality_unclaimed(q));
	report->failed_warnings++;
	return 0;
}

/* Parquet that no engine reads: undeclared personal data may be in it. */
static int add_unexamined(struct quality *q, size_t object, struct quality_report *report)
{
	const char *why = quality_unexamined(q, object);
	struct quality_result *r;
	const struct contract_object *objects = NULL;
	if (!why)
		return 0;
	if (result_add(report, &r))
		return -ENOMEM;
	if (object < quality_object_count(q))
		contract_objects(quality_contract(q), &objects);
	r->check = copy(report, "personal data");
	r->object = objects ? copy(report, objects[object].name) : NULL;
	r->expected = copy(report, "must be declared");
	r->detail = copy(report, why);
	report->failed_warnings++;
	return 0;
}

struct findings {
	struct quality *q;
	struct quality_report *report;
};

static char *finding_text(const struct personal_finding *f)
{
	if (f->waived)
		return text_format("looks like %s; waived by %s: %s", f->entity, f->waived_by, f->waived_reason);
	if (!f->hits)
		return text_format("its name says %s; tag the column pii, or waive it (personalDataWaiver)", f->entity);
	return text_format("looks like %s in %llu of %llu values; tag the column pii, or waive it (personalDataWaiver)", f->entity,
			   (unsigned long long)f->hits, (unsigned long long)f->examined);
}

static int add_finding(void *arg, const struct personal_finding *f)
{
	struct findings *to = arg;
	struct quality_result *r;
	if (result_add(to->report, &r))
		return -ENOMEM;
	r->check = copy(to->report, "personal data");
	r->object = copy(to->report, f->object);
	r->column = kept(to->report, text_printable(f->column, strlen(f->column)));
	r->expected = copy(to->report, "must be declared");
	r->detail = kept(to->report, finding_text(f));
	r->error = quality_contract(to->q) != NULL;
	r->passed = f->waived;
	if (!f->waived) {
		to->report->failed_errors += r->error;
		to->report->failed_warnings += !r->error;
		to->report->undeclared += r->error;
	}
	return add_offender(r, f->file, f->row);
}

/* Columns that look personal keep no values, whatever the contract says. */
static bool was_found(const struct quality_report *r, const struct contract_object *o, const char *column)
{
	for (size_t i = 0; i < r->count; i++)
		if (!strcmp(r->results[i].check, "personal data") && r->results[i].object && !strcmp(r->results[i].object, o->name) &&
		    r->results[i].column && !strcmp(r->results[i].column, column))
			return true;
	return false;
}

static void look_json(struct quality *q, size_t object, size_t column, const struct quality_report *r, struct json *j)
{
	const struct contract_object *objects;
	contract_objects(quality_contract(q), &objects);
	const struct contract_column *c = &objects[object].columns[column];
	struct distribution_summary s;
	const struct distribution *d;
	uint64_t nulls;
	if (!quality_look(q, object, column, &nulls, &s, &d))
		return;
	bool found = was_found(r, &objects[object], c->name);
	s.ordered &= !found;
	json_open(j, '{');
	json_field_text(j, "object", objects[object].name);
	json_field_text(j, "column", c->name);
	distribution_json(j, c->type, nulls, &s, found ? NULL : d);
	json_close(j, '}');
}

/* What each column looks like, as a JSON list. */
static void looks(struct quality *q, struct quality_report *r)
{
	struct json j;
	json_start(&j, &r->columns);
	json_open(&j, '[');
	for (size_t i = 0; i < quality_object_count(q); i++) {
		const struct contract_object *objects;
		contract_objects(quality_contract(q), &objects);
		for (size_t k = 0; k < objects[i].column_count && k < QUALITY_COLUMNS_TOLD; k++)
			look_json(q, i, k, r, &j);
	}
	json_close(&j, ']');
}

/* What sql checks ask about: a table for each object that has files. */
static void make_tables(struct quality *q, struct err *e)
{
	const struct quality_engine *engine = quality_engine_of(q);
	const struct contract_object *objects;
	if (!engine || !quality_has_queries(q))
		return;
	contract_objects(quality_contract(q), &objects);
	for (size_t i = 0; i < quality_object_count(q) && !e->code; i++) {
		char *const *files;
		const size_t count = quality_object_files(q, i, &files);
		if (count)
			engine->table(engine->arg, objects[i].name, (const char *const *)files, count, e);
	}
}

int quality_ask_ahead(struct quality *q)
{
	const struct quality_engine *engine = quality_engine_of(q);
	const struct check_list *list = quality_checks(q);
	struct err why = ERR_INIT;
	double number;
	make_tables(q, &why);
	int r = why.code;
	for (size_t i = 0; i < list->count && engine && r != -EINTR && r != -ENOMEM && !why.code; i++) {
		if (list->items[i]->kind != CHECK_SQL)
			continue;
		r = engine->number(engine->arg, list->items[i]->query, &number, &why);
		err_clear(&why);
	}
	return r == -EINTR || r == -ENOMEM ? r : 0;
}

int quality_finish(struct quality *q, struct quality_report **ret, struct err *e)
{
	struct quality_report *report = calloc(1, sizeof *report);
	struct check_list *list = quality_checks(q);
	struct err tables = ERR_INIT;
	int r = scanner_wait(q);
	if (!report)
		r = -ENOMEM;
	if (!r)
		make_tables(q, &tables);
	for (size_t i = 0; i < list->count && !r; i++)
		r = judge(q, list->items[i], &tables, report);
	for (size_t i = 0; i < quality_object_count(q) && !r; i++)
		report->rows += quality_rows(q, i);
	if (!r)
		r = add_unclaimed(q, report);
	for (size_t i = 0; i <= quality_object_count(q) && !r; i++)
		r = add_unexamined(q, i, report);
	struct findings findings = { q, report };
	if (!r)
		r = personal_each(quality_personal(q), add_finding, &findings);
	if (!r && report->no_memory)
		r = -ENOMEM;
	if (!r)
		looks(q, report);
	if (!r && buf_check(&report->columns))
		r = -ENOMEM;
	if (r) {
		quality_report_free(report);
		return err_set(e, r, "the checks could not be completed: %s", strerror(-r));
	}
	*ret = report;
	return 0;
}

void quality_report_free(struct quality_report *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->count; i++) {
		struct quality_result *x = &r->results[i];
		for (size_t k = 0; k < x->offender_count; k++)
			free((char *)x->offenders[k].file);
		free((char *)x->check);
		free((char *)x->object);
		free((char *)x->column);
		free((char *)x->dimension);
		free((char *)x->expected);
		free((char *)x->counted);
		free((char *)x->detail);
	}
	free(r->results);
	buf_free(&r->columns);
	free(r);
}

size_t quality_report_results(const struct quality_report *r, const struct quality_result **ret)
{
	*ret = r->results;
	return r->count;
}

uint64_t quality_report_rows(const struct quality_report *r)
{
	return r->rows;
}

int64_t quality_report_failed_errors(const struct quality_report *r)
{
	return r->failed_errors;
}

int64_t quality_report_failed_warnings(const struct quality_report *r)
{
	return r->failed_warnings;
}

int64_t quality_report_undeclared(const struct quality_report *r)
{
	return r->undeclared;
}

double quality_report_score(const struct quality_report *r)
{
	return r->count ? 1 - (double)(r->failed_errors + r->failed_warnings) / (double)r->count : 1;
}

static void result_json(struct json *j, const struct quality_result *x)
{
	json_open(j, '{');
	json_field_text(j, "check", x->check);
	json_field_text(j, "object", x->object);
	json_field_text(j, "column", x->column);
	json_field_text(j, "dimension", x->dimension);
	json_field_text(j, "severity", x->error ? "error" : "warning");
	json_field_bool(j, "passed", x->passed);
	json_field_double(j, "measured", x->measured);
	json_field_text(j, "expected", x->expected);
	json_field_text(j, "detail", x->detail);
	json_key(j, "offenders");
	json_open(j, '[');
	for (size_t i = 0; i < x->offender_count; i++) {
		json_open(j, '{');
		json_field_text(j, "file", x->offenders[i].file);
		if (x->offenders[i].row)
			json_field_int(j, "row", (int64_t)x->offenders[i].row);
		json_close(j, '}');
	}
	json_close(j, ']');
	json_close(j, '}');
}

void quality_report_json(const struct quality_report *r, struct buf *out)
{
	struct json j;
	json_start(&j, out);
	json_open(&j, '{');
	json_field_int(&j, "rows", (int64_t)r->rows);
	json_field_double(&j, "score", quality_report_score(r));
	json_field_int(&j, "failed_errors", r->failed_errors);
	json_field_int(&j, "failed_warnings", r->failed_warnings);
	json_key(&j, "checks");
	json_open(&j, '[');
	for (size_t i = 0; i < r->count; i++)
		result_json(&j, &r->results[i]);
	json_close(&j, ']');
	json_key(&j, "columns");
	json_raw(&j, buf_text(&r->columns));
	json_close(&j, '}');
}

void quality_report_failures_json(const struct quality_report *r, struct buf *out)
{
	struct json j;
	json_start(&j, out);
	json_open(&j, '[');
	for (size_t i = 0; i < r->count; i++)
		if (!r->results[i].passed)
			result_json(&j, &r->results[i]);
	json_close(&j, ']');
}

/* "values that are no integers: 2, there may be none", "must be 3, is 4". */
static void add_judgement(const struct quality_result *x, struct buf *out)
{
	if (x->unanswered) {
		buf_adds(out, "could not be checked");
	} else if (x->passed || (x->detail && !x->measured)) {
		buf_adds(out, x->expected);
	} else if (x->counted) {
		buf_addf(out, "%s: %.15g, ", x->counted, x->measured);
		buf_adds(out, !strcmp(x->expected, "must be 0") ? "there may be none" : x->expected);
	} else {
		buf_addf(out, "%s, is %.15g", x->expected, x->measured);
	}
}

static void add_place(const struct quality_result *x, struct buf *out)
{
	buf_addf(out, "%s%s%s", x->object ? x->object : "", x->object && x->column ? "." : "", x->column ? x->column : "");
}

static void add_line(const struct quality_result *x, struct buf *out)
{
	buf_addf(out, "%s: ", x->passed ? "ok" : x->error ? "error" : "warning");
	add_place(x, out);
	buf_addf(out, "%s%s: ", x->object || x->column ? " " : "", x->check);
	add_judgement(x, out);
	if (x->detail)
		buf_addf(out, " (%s)", x->detail);
	for (size_t k = 0; k < x->offender_count && k < 3 && !x->passed; k++) {
		char *safe = text_printable(x->offenders[k].file, strlen(x->offenders[k].file));
		buf_addf(out, "%s %s", k ? "," : "; first:", safe ? safe : "?");
		if (x->offenders[k].row)
			buf_addf(out, " row %llu", (unsigned long long)x->offenders[k].row);
		free(safe);
	}
	buf_addc(out, '\n');
}

/* What no engine could check, in one line: the reason is the same. */
static void add_engineless(const struct quality_report *r, struct buf *out)
{
	size_t count = 0;
	struct buf names = BUF_INIT;
	const char *why = NULL;
	for (size_t i = 0; i < r->count; i++) {
		const struct quality_result *x = &r->results[i];
		if (!x->engineless)
			continue;
		why = x->detail;
		if (count++ < 6) {
			buf_adds(&names, count > 1 ? ", " : "");
			add_place(x, &names);
			buf_addf(&names, " %s", x->check);
		}
	}
	if (count)
		buf_addf(out, "warning: %zu check%s %s (%s%s)\n", count, count == 1 ? "" : "s", why ? why : "", buf_text(&names), count > 6 ? " …" : "");
	buf_free(&names);
}

void quality_report_text(const struct quality_report *r, bool failures_only, struct buf *out)
{
	for (size_t i = 0; i < r->count; i++)
		if (!(r->results[i].passed && failures_only) && !r->results[i].engineless)
			add_line(&r->results[i], out);
	add_engineless(r, out);
}
