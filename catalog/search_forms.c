#include "catalog/search_forms.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

#define SHORTEST 4 /* of what is left of a word: "bus" has no singular "bu" */

static bool ends(const char *word, size_t len, const char *with, size_t *ret_stem)
{
	const size_t n = strlen(with);
	*ret_stem = len > n ? len - n : 0;
	return *ret_stem >= SHORTEST && !strncasecmp(word + *ret_stem, with, n);
}

/* What singular and plural begin with: categor-y and -ies, box and -es, order-s, kunde-n, produkt-en. */
static size_t stem_of(const char *word, size_t len)
{
	static const char *const endings[] = { "ies", "es", "en", "s", "n", "e", "y" };
	size_t stem;
	for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
		if (ends(word, len, endings[i], &stem))
			return stem;
	return 0;
}

/* Spellings that stand for each other; what the index folds itself (é for e, ä for a) needs none. */
static const struct {
	const char *from, *to;
} spellings[] = { { "ae", "\xc3\xa4" }, { "oe", "\xc3\xb6" }, { "ue", "\xc3\xbc" }, { "ss", "\xc3\x9f" } };

static size_t respell(const char *word, size_t len, bool plain, char to[SEARCH_FORM_BYTES_MAX])
{
	size_t n = 0;
	bool changed = false;
	for (size_t i = 0; i < len && n + 2 < SEARCH_FORM_BYTES_MAX;) {
		size_t k = 0;
		for (; k < 4 && (len - i < 2 || strncasecmp(word + i, plain ? spellings[k].to : spellings[k].from, 2) != 0); k++)
			;
		if (k == 4) {
			to[n++] = word[i++];
			continue;
		}
		memcpy(to + n, plain ? spellings[k].from : spellings[k].to, 2);
		n += 2;
		i += 2;
		changed = true;
	}
	return changed ? n : 0;
}

size_t search_forms(const char *word, size_t len, struct search_form ret[SEARCH_FORMS_MAX])
{
	size_t count = 0;
	if (len <= SHORTEST || len + 2 >= SEARCH_FORM_BYTES_MAX)
		return 0;
	const size_t stem = stem_of(word, len);
	if (stem) {
		memcpy(ret[count].text, word, stem);
		ret[count++].len = stem;
	}
	for (int plain = 0; plain < 2; plain++) {
		const size_t n = respell(word, len, plain, ret[count].text);
		ret[count].len = n;
		count += n > 0;
	}
	return count;
}
