#include "catalog/personal.h"

#include "catalog/base/text.h"
#include "catalog/entity.h"
#include "catalog/personal_name.h"
#include "catalog/personal_weigh.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define ENTITIES 7
#define SAMPLE_FIRST 500 /* values of a column and file that are all looked at; then one in SAMPLE_STEP */
#define SAMPLE_STEP 61
#define VALUE_BYTES_MIN 7u    /* nothing that is looked for is shorter */
#define VALUE_BYTES_MAX 4096u /* of a free text that are looked at */
#define FINDINGS_MAX 2000u

struct column {
	char *name;
	const char *by_name; /* entity that the name suggests, or NULL */
	bool declared;
	bool present; /* some value is not null */
	const struct doc_node *waiver;
	unsigned hints; /* entities that its name speaks of */
	uint64_t values, examined, first_row[ENTITIES];
	uint64_t next; /* of the values: the next that is looked at */
	uint64_t hits[ENTITIES][PERSONAL_WITHIN + 1]; /* values by weight */
};

struct personal_file {
	struct personal *owner;
	char *path;
	const struct contract_object *object;
	struct column *columns;
	size_t count, capacity;
};

struct kept {
	struct personal_finding finding;
	char *texts[3];
	struct kept *next;
};

struct personal {
	pthread_mutex_t lock; /* guards the findings; a leaf */
	struct kept *first;
	size_t count;
};

struct personal *personal_new(void)
{
	struct personal *p = calloc(1, sizeof *p);
	if (p)
		pthread_mutex_init(&p->lock, NULL);
	return p;
}

void personal_free(struct personal *p)
{
	if (!p)
		return;
	while (p->first) {
		struct kept *k = p->first;
		p->first = k->next;
		for (int i = 0; i < 3; i++)
			free(k->texts[i]);
		free(k);
	}
	pthread_mutex_destroy(&p->lock);
	free(p);
}

/* -- what a contract says ----------------------------------------------------------- */

bool personal_declared(const struct contract_column *c)
{
	static const char *const known[] = { "PERSON", "LOCATION", "DATE_TIME", "NRP", "MEDICAL_LICENSE", "US_PASSPORT", "US_DRIVER_LICENSE", "US_BANK_NUMBER",
					     "US_ITIN", "CRYPTO" };
	if (!c)
		return false;
	for (size_t i = 0; i < c->tag_count; i++) {
		const char *tag = c->tags[i];
		if (!strcasecmp(tag, "pii") || text_starts(tag, "hipaa:") || entity_by_name(tag))
			return true;
		for (size_t k = 0; k < sizeof known / sizeof *known; k++)
			if (!strcmp(tag, known[k]))
				return true;
	}
	return c->classification && strcasecmp(c->classification, "public") != 0 && strcasecmp(c->classification, "internal") != 0;
}

static const struct doc_node *waiver_of(const struct contract_column *c)
{
	const struct doc_node *custom = c ? doc_get(c->node, "customProperties") : NULL;
	for (size_t i = 0; i < doc_count(custom); i++) {
		const struct doc_node *p = doc_item(custom, i), *value = doc_get(p, "value");
		const char *name = doc_get_text(p, "property");
		if (name && !strcmp(name, "personalDataWaiver") && doc_get_text(value, "by") && doc_get_text(value, "reason"))
			return value;
	}
	return NULL;
}

/* -- one file -------------------------------------------------------------------------- */

int personal_file_begin(struct personal *p, const char *path, const struct contract_object *object, struct personal_file **ret)
{
	struct personal_file *f = calloc(1, sizeof *f);
	if (!f || !(f->path = strdup(path))) {
		free(f);
		return -ENOMEM;
	}
	f->owner = p;
	f->object = object;
	int r = 0;
	for (size_t i = 0; object && i < object->column_count && !r; i++)
		r = personal_column(f, (uint32_t)i, object->columns[i].name, strlen(object->columns[i].name));
	if (r) {
		personal_file_drop(f);
		return r;
	}
	*ret = f;
	return 0;
}

/* The contract's column, or the nearest one that it is in: what is said of a container is said of what is in it. */
static const struct contract_column *declared_column(const struct contract_object *o, const char *name, size_t len)
{
	const struct contract_column *c = contract_column_find(o, name, len);
	while (!c) {
		const char *dot = memrchr(name, '.', len);
		if (!dot)
			break;
		len = (size_t)(dot - name);
		c = contract_column_find(o, name, len);
	}
	return c;
}

int personal_column(struct personal_file *f, uint32_t column, const char *name, size_t len)
{
	if (column >= f->capacity) {
		size_t capacity = (size_t)column * 2 + 16;
		struct column *more = realloc(f->columns, capacity * sizeof *more);
		if (!more)
			return -ENOMEM;
		memset(more + f->capacity, 0, (capacity - f->capacity) * sizeof *more);
		f->columns = more;
		f->capacity = capacity;
	}
	struct column *c = &f->columns[column];
	c->name = strndup(name, len);
	if (!c->name)
		return -ENOMEM;
	if (column >= f->count)
		f->count = (size_t)column + 1;
	const struct contract_column *declared = f->object ? declared_column(f->object, name, len) : NULL;
	c->declared = personal_declared(declared);
	c->waiver = waiver_of(declared);
	c->by_name = personal_name_entity(c->name);
	c->hints = personal_name_hints(c->name);
	return 0;
}

bool personal_looks(const struct personal_file *f, uint32_t column)
{
	return column < f->count && !f->columns[column].declared;
}

/* The value after those seen so far: is it one that is looked at? */
static inline bool take(struct column *c)
{
	const uint64_t n = c->values++;
	if (n != c->next)
		return false;
	c->next = n + 1 < SAMPLE_FIRST ? n + 1 : (n / SAMPLE_STEP + 1) * SAMPLE_STEP;
	return true;
}

size_t personal_skip(struct personal_file *f, uint32_t column, size_t count)
{
	if (!count || !personal_looks(f, column))
		return count;
	struct column *c = &f->columns[column];
	const uint64_t before = c->next - c->values;
	const size_t skipped = before < count ? (size_t)before : count;
	c->present = true;
	c->values += skipped;
	return skipped;
}

/* What is found in a value: of each entity what weighs most. */
struct look {
	const char *text;
	size_t len;
	unsigned hints;
	unsigned char most[ENTITIES];
};

static void on_entity(void *arg, unsigned entity, size_t start, size_t len)
{
	struct look *l = arg;
	const unsigned weight = personal_weigh(entity, l->text, l->len, start, len, l->hints);
	const int i = __builtin_ctz(entity);
	if (weight > l->most[i])
		l->most[i] = (unsigned char)weight;
}

static void look_at(struct column *c, uint64_t row, const char *text, size_t len)
{
	c->examined++;
	struct look look = { text, len < VALUE_BYTES_MAX ? len : VALUE_BYTES_MAX, c->hints, { 0 } };
	entity_find(ENTITY_ALL & ~(unsigned)ENTITY_URL, text, look.len, on_entity, &look);
	for (int i = 0; i < ENTITIES; i++) {
		if (look.most[i] && !c->first_row[i])
			c->first_row[i] = row;
		c->hits[i][look.most[i]]++;
	}
}

void personal_value(struct personal_file *f, uint32_t column, uint64_t row, const char *text, size_t len)
{
	struct column *c = column < f->count ? &f->columns[column] : NULL;
	if (!c || c->declared)
		return;
	c->present = true;
	if (len >= VALUE_BYTES_MIN && take(c))
		look_at(c, row, text, len);
}

void personal_cells(struct personal_file *f, uint32_t column, uint64_t row, const struct cell *cells, const uint32_t *records, size_t count)
{
	if (!count || !personal_looks(f, column))
		return;
	struct column *c = &f->columns[column];
	c->present = true;
	for (size_t i = 0; i < count; i++) {
		const struct cell *v = &cells[i];
		if (v->len >= VALUE_BYTES_MIN && (v->kind == VALUE_TEXT || v->kind == VALUE_NUMBER || v->kind == VALUE_MOMENT) && take(c))
			look_at(c, row + records[i], v->text, v->len);
	}
}

void personal_number(struct personal_file *f, uint32_t column, uint64_t row, const char *text, size_t len)
{
	struct column *c = &f->columns[column];
	if (take(c) && len >= VALUE_BYTES_MIN)
		look_at(c, row, text, len);
}

static int keep(struct personal_file *f, const struct column *c, const char *entity, uint64_t row, uint64_t hits)
{
	struct kept *k = calloc(1, sizeof *k);
	if (!k)
		return -ENOMEM;
	k->texts[0] = strdup(c->name);
	k->texts[1] = strdup(f->path);
	k->texts[2] = f->object ? strdup(f->object->name) : NULL;
	if (!k->texts[0] || !k->texts[1] || (f->object && !k->texts[2])) {
		for (int i = 0; i < 3; i++)
			free(k->texts[i]);
		free(k);
		return -ENOMEM;
	}
	k->finding = (struct personal_finding){ .object = k->texts[2], .column = k->texts[0], .entity = entity, .file = k->texts[1],
						.row = row, .hits = hits, .examined = c->examined, .waived = c->waiver != NULL,
						.waived_by = doc_get_text(c->waiver, "by"), .waived_reason = doc_get_text(c->waiver, "reason") };
	struct personal *p = f->owner;
	pthread_mutex_lock(&p->lock);
	bool room = p->count < FINDINGS_MAX;
	for (struct kept *other = p->first; other && room; other = other->next)
		room = strcmp(other->finding.column, k->finding.column) != 0 || strcmp(other->finding.entity, entity) != 0 ||
		       strcmp(other->finding.object ? other->finding.object : "", k->finding.object ? k->finding.object : "") != 0;
	if (room) {
		k->next = p->first;
		p->first = k;
		p->count++;
	}
	pthread_mutex_unlock(&p->lock);
	if (!room) {
		for (int i = 0; i < 3; i++)
			free(k->texts[i]);
		free(k);
	}
	return 0;
}

static int judge(struct personal_file *f, const struct column *c)
{
	bool found = false;
	for (int i = 0; i < ENTITIES; i++) {
		const uint64_t *hits = c->hits[i], all = hits[PERSONAL_MAYBE] + hits[PERSONAL_VALUE] + hits[PERSONAL_WITHIN];
		if (!all || !personal_is_telling(1u << i, hits[PERSONAL_MAYBE], hits[PERSONAL_VALUE], hits[PERSONAL_WITHIN], c->examined))
			continue;
		int r = keep(f, c, entity_name(1u << i), c->first_row[i], all);
		if (r)
			return r;
		found = true;
	}
	if (found || !c->by_name)
		return 0;
	return keep(f, c, c->by_name, 0, 0);
}

void personal_file_drop(struct personal_file *f)
{
	if (!f)
		return;
	for (size_t i = 0; i < f->count; i++)
		free(f->columns[i].name);
	free(f->columns);
	free(f->path);
	free(f);
}

int personal_file_end(struct personal_file *f)
{
	int r = 0;
	for (size_t i = 0; f && i < f->count && !r; i++)
		if (f->columns[i].name && !f->columns[i].declared && f->columns[i].present)
			r = judge(f, &f->columns[i]);
	personal_file_drop(f);
	return r;
}

int personal_each(struct personal *p, int (*each)(void *arg, const struct personal_finding *f), void *arg)
{
	int r = 0;
	for (struct kept *k = p->first; k && !r; k = k->next)
		r = each(arg, &k->finding);
	return r;
}
