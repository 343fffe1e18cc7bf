"""A workload for the Python interpreter: objects, dictionaries, sorting, JSON. The argument: how many records."""

import json
import sys


class Account:
    """An object with a dictionary of its own."""

    def __init__(self, number):
        self.number = number
        self.owner = f"owner {number * 7919 % 5000}"
        self.orders = []


class Order:
    """An object without one."""

    __slots__ = ("number", "price", "tags")

    def __init__(self, number):
        self.number = number
        self.price = number * 31 % 977 / 7
        self.tags = (f"tag{number % 13}", f"tag{number % 41}")


def make_accounts(count):
    accounts = [Account(number) for number in range(count)]
    for number in range(3 * count):
        accounts[number * 104729 % count].orders.append(Order(number))
    return accounts


def group_by_owner(accounts):
    groups = {}
    for account in accounts:
        groups.setdefault(account.owner, []).append(account)
    return {owner: sorted(group, key=lambda account: (len(account.orders), account.number))
            for owner, group in groups.items()}


def as_records(groups):
    return [{"owner": owner, "accounts": [{"number": account.number,
                                           "orders": [{"number": order.number, "price": order.price,
                                                       "tags": list(order.tags)} for order in account.orders]}
                                          for account in group]}
            for owner, group in groups.items()]


def count_tags(records):
    counts = {}
    for record in records:
        for account in record["accounts"]:
            for order in account["orders"]:
                for tag in order["tags"]:
                    counts[tag] = counts.get(tag, 0) + 1
    return counts


def main():
    count = int(sys.argv[1])
    total = 0
    for part in range(4):  # what one part leaves behind, the next one uses
        groups = group_by_owner(make_accounts(count + part * count // 8))
        text = json.dumps(as_records(groups))
        counts = count_tags(json.loads(text))
        total += len(text)
        print(part, len(groups), len(text), sorted(counts.items())[:5])
    print(total)


if __name__ == "__main__":
    main()
