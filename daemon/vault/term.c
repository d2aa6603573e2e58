/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/vault/term.h"

#include <errno.h>
#include <stdlib.h>

/* Of the table and of the heap; both double. */
#define CAPACITY_MIN 64

/* One record's place among those that hang on a holder, in the order in which they came. */
struct bond {
	struct holder *holder; /* NULL: none */
	struct term *previous;
	struct term *next;
};

struct term {
	struct term *chained; /* in its chain of the table */
	uint64_t offset;
	uint64_t deadline_ms; /* 0: none */
	size_t place;         /* in the heap, from 1; 0: not in it */
	struct bond bonds[BONDS];
};

struct holder {
	struct term *first;
	struct term *last;
	size_t count;
	bool ended;           /* and not empty: one of terms->ended */
	struct holder *after; /* among the ended ones */
	void (*emptied)(void *context);
	void *context;
};

struct terms {
	struct term *spare;   /* for the next terms_add */
	struct term **chains; /* by offset */
	size_t capacity;      /* of chains, and of the heap */
	size_t count;
	struct term **heap; /* the earliest deadline first; from 1 */
	size_t heaped;
	struct holder *ended;
};

/* -- the heap ------------------------------------------------------------------------------ */

static void put(struct terms *terms, size_t place, struct term *term)
{
	terms->heap[place] = term;
	term->place = place;
}

/* Lets a term find its place between those before it and those after it. */
static void settle(struct terms *terms, struct term *term)
{
	size_t place = term->place;

	while (place > 1 && terms->heap[place / 2]->deadline_ms > term->deadline_ms) {
		put(terms, place, terms->heap[place / 2]);
		place /= 2;
	}
	for (;;) {
		size_t child = place * 2;

		if (child < terms->heaped &&
			terms->heap[child + 1]->deadline_ms < terms->heap[child]->deadline_ms)
			child++;
		if (child > terms->heaped || terms->heap[child]->deadline_ms >= term->deadline_ms)
			break;
		put(terms, place, terms->heap[child]);
		place = child;
	}
	put(terms, place, term);
}

static void heap_add(struct terms *terms, struct term *term)
{
	if (term->deadline_ms == 0)
		return;
	put(terms, ++terms->heaped, term);
	settle(terms, term);
}

static void heap_remove(struct terms *terms, struct term *term)
{
	struct term *last;

	if (term->place == 0)
		return;
	last = terms->heap[terms->heaped--];
	if (last != term) {
		put(terms, term->place, last);
		settle(terms, last);
	}
	term->place = 0;
}

/* -- the table ----------------------------------------------------------------------------- */

/* Offsets are multiples of 16 that nobody chooses. */
static struct term **chain_of(const struct terms *terms, uint64_t offset)
{
	return &terms->chains[(size_t)(offset / 16 * UINT64_C(0x9e3779b97f4a7c15) >> 32) &
		(terms->capacity - 1)];
}

static struct term *find(const struct terms *terms, uint64_t offset)
{
	struct term *term;

	if (terms->count == 0)
		return NULL;
	term = *chain_of(terms, offset);
	while (term && term->offset != offset)
		term = term->chained;
	return term;
}

static void chain(struct terms *terms, struct term *term)
{
	struct term **at = chain_of(terms, term->offset);

	term->chained = *at;
	*at = term;
}

static void unchain(struct terms *terms, struct term *term)
{
	struct term **at = chain_of(terms, term->offset);

	while (*at != term)
		at = &(*at)->chained;
	*at = term->chained;
}

static void chain_again(struct terms *terms, struct term **old, size_t capacity)
{
	for (size_t i = 0; i < capacity; i++)
		while (old[i]) {
			struct term *term = old[i];

			old[i] = term->chained;
			chain(terms, term);
		}
}

/* Table and heap have room for as many. Returns 0, or -ENOMEM and nothing has changed. */
static int resize(struct terms *terms, size_t capacity)
{
	struct term **chains = calloc(capacity, sizeof(struct term *));
	struct term **heap =
		chains ? reallocarray(terms->heap, capacity + 1, sizeof(struct term *)) : NULL;
	struct term **old = terms->chains;
	size_t before = terms->capacity;

	if (!heap) {
		free(chains);
		return -ENOMEM;
	}
	terms->heap = heap;
	terms->chains = chains;
	terms->capacity = capacity;
	chain_again(terms, old, before);
	free(old);
	return 0;
}

/* What is nearly empty again gives its memory back, if there is some for a smaller one. */
static void shrink(struct terms *terms)
{
	if (terms->capacity > CAPACITY_MIN && terms->count < terms->capacity / 8)
		(void)resize(terms, terms->capacity / 2);
}

/* -- bonds --------------------------------------------------------------------------------- */

static void tie(struct term *term, enum bond_kind kind, struct holder *holder)
{
	struct bond *bond = &term->bonds[kind];

	if (!holder)
		return;
	*bond = (struct bond){ .holder = holder, .previous = holder->last };
	if (holder->last)
		holder->last->bonds[kind].next = term;
	else
		holder->first = term;
	holder->last = term;
	holder->count++;
}

static void forget_ended(struct terms *terms, struct holder *holder)
{
	struct holder **at = &terms->ended;

	while (*at != holder)
		at = &(*at)->after;
	*at = holder->after;
	free(holder);
}

static void untie(struct terms *terms, struct term *term, enum bond_kind kind)
{
	struct bond *bond = &term->bonds[kind];
	struct holder *holder = bond->holder;

	if (!holder)
		return;
	if (bond->previous)
		bond->previous->bonds[kind].next = bond->next;
	else
		holder->first = bond->next;
	if (bond->next)
		bond->next->bonds[kind].previous = bond->previous;
	else
		holder->last = bond->previous;
	*bond = (struct bond){ 0 };
	if (--holder->count > 0)
		return;
	if (holder->ended)
		forget_ended(terms, holder);
	else if (holder->emptied)
		holder->emptied(holder->context);
}

/* -- terms --------------------------------------------------------------------------------- */

int terms_reserve(struct terms *terms)
{
	if (terms->count == terms->capacity && resize(terms, terms->capacity * 2) < 0)
		return -ENOMEM;
	if (!terms->spare)
		terms->spare = malloc(sizeof(*terms->spare));
	return terms->spare ? 0 : -ENOMEM;
}

void terms_add(struct terms *terms, uint64_t offset, const struct term_of *of)
{
	struct term *term = terms->spare;

	terms->spare = NULL;
	*term = (struct term){ .offset = offset, .deadline_ms = of->deadline_ms };
	terms->count++;
	chain(terms, term);
	heap_add(terms, term);
	for (enum bond_kind kind = 0; kind < BONDS; kind++)
		tie(term, kind, of->holders[kind]);
}

void terms_move(struct terms *terms, uint64_t offset, uint64_t to)
{
	struct term *term = find(terms, offset);

	if (!term)
		return;
	unchain(terms, term);
	term->offset = to;
	chain(terms, term);
}

void terms_defer(struct terms *terms, uint64_t offset, uint64_t deadline_ms)
{
	struct term *term = find(terms, offset);

	if (!term || term->deadline_ms == deadline_ms)
		return;
	heap_remove(terms, term);
	term->deadline_ms = deadline_ms;
	heap_add(terms, term);
}

static void take_out(struct terms *terms, struct term *term)
{
	unchain(terms, term);
	terms->count--;
	heap_remove(terms, term);
	for (enum bond_kind kind = 0; kind < BONDS; kind++)
		untie(terms, term, kind);
	free(term);
}

void terms_drop(struct terms *terms, uint64_t offset)
{
	struct term *term = find(terms, offset);

	if (!term)
		return;
	take_out(terms, term);
	shrink(terms);
}

bool terms_look(const struct terms *terms, uint64_t offset, struct term_of *of)
{
	const struct term *term = find(terms, offset);

	if (!term)
		return false;
	*of = (struct term_of){ .deadline_ms = term->deadline_ms };
	for (enum bond_kind kind = 0; kind < BONDS; kind++)
		of->holders[kind] = term->bonds[kind].holder;
	return true;
}

static bool is_over(const struct term *term, uint64_t now_ms)
{
	for (enum bond_kind kind = 0; kind < BONDS; kind++)
		if (term->bonds[kind].holder && term->bonds[kind].holder->ended)
			return true;
	return term->deadline_ms != 0 && term->deadline_ms <= now_ms;
}

bool terms_over(const struct terms *terms, uint64_t offset, uint64_t now_ms)
{
	const struct term *term = find(terms, offset);

	return term && is_over(term, now_ms);
}

uint64_t terms_next_over(const struct terms *terms, uint64_t now_ms)
{
	if (terms->ended)
		return terms->ended->first->offset;
	if (terms->heaped > 0 && is_over(terms->heap[1], now_ms))
		return terms->heap[1]->offset;
	return 0;
}

uint64_t terms_next_ms(const struct terms *terms)
{
	if (terms->ended)
		return 0;
	return terms->heaped > 0 ? terms->heap[1]->deadline_ms : UINT64_MAX;
}

uint64_t terms_count(const struct terms *terms)
{
	return terms->count;
}

/* -- holders ------------------------------------------------------------------------------- */

struct holder *holder_new(void (*emptied)(void *context), void *context)
{
	struct holder *holder = calloc(1, sizeof(*holder));

	if (holder) {
		holder->emptied = emptied;
		holder->context = context;
	}
	return holder;
}

void holder_free(struct holder *holder)
{
	if (holder && holder->count > 0)
		abort();
	free(holder);
}

void holder_end(struct terms *terms, struct holder *holder)
{
	if (holder->count == 0) {
		free(holder);
		return;
	}
	holder->ended = true;
	holder->after = terms->ended;
	terms->ended = holder;
}

bool holder_ended(const struct holder *holder)
{
	return holder->ended;
}

size_t holder_count(const struct holder *holder)
{
	return holder->count;
}

uint64_t holder_oldest(const struct holder *holder)
{
	return holder->first ? holder->first->offset : 0;
}

/* -- its life ------------------------------------------------------------------------------ */

int terms_new(struct terms **termsp)
{
	struct terms *terms = calloc(1, sizeof(*terms));

	if (!terms)
		return -ENOMEM;
	if (resize(terms, CAPACITY_MIN) < 0) {
		free(terms);
		return -ENOMEM;
	}
	*termsp = terms;
	return 0;
}

void terms_free(struct terms *terms)
{
	if (!terms)
		return;
	for (size_t i = 0; i < terms->capacity; i++)
		while (terms->chains[i])
			take_out(terms, terms->chains[i]);
	free(terms->spare);
	free(terms->chains);
	free(terms->heap);
	free(terms);
}
