"""Cost for Penstock: token counts, prices, budgets."""

from penstock_cost.budget import Account, Budgets, Hold, Refusal
from penstock_cost.config import BudgetConfig, CostConfig, PriceConfig
from penstock_cost.counting import TokenCount, count_tokens
from penstock_cost.exact import exact_count
from penstock_cost.learned import LearnedRatio
from penstock_cost.pricing import Price, PriceBook
from penstock_cost.rates import Rates
from penstock_cost.stage import CostStage
from penstock_cost.standalone import budgeted
from penstock_cost.tokenizers import Tokenizers
from penstock_cost.window import Fit, fit, require_fit

__all__ = [
    "Account",
    "BudgetConfig",
    "Budgets",
    "CostConfig",
    "CostStage",
    "Fit",
    "Hold",
    "LearnedRatio",
    "Price",
    "PriceBook",
    "PriceConfig",
    "Rates",
    "Refusal",
    "TokenCount",
    "Tokenizers",
    "budgeted",
    "count_tokens",
    "exact_count",
    "fit",
    "require_fit",
]
