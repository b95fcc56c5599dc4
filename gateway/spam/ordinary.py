"""Ordinary commercial English, written by hand for training: orders, invoices, notices, newsletters.

The public corpora hold almost no such mail, so a word model trained on them alone takes "order", "account" and
"invoice" for spam. These sentences correct that; `ordinary_mail` makes whole mail of them.
"""

from __future__ import annotations

from collections.abc import Iterator

SCENES: dict[str, tuple[str, ...]] = {
    "Your order {n} has been shipped": (
        "Thank you for your order.",
        "Your order has left our warehouse and is on its way to you.",
        "You can track your package with the tracking number below.",
        "Estimated delivery is between Tuesday and Thursday.",
        "Items in this shipment: quantity, price, subtotal, shipping and total including tax.",
        "The delivery address is the one you gave us at checkout.",
        "If you would like to return an item, you may do so within 30 days of delivery.",
        "Please contact our customer service team if you have any questions about your order.",
        "View your order in your account.",
        "We hope to see you again soon in our store.",
    ),
    "Order confirmation {n}": (
        "We have received your order and are getting it ready.",
        "We will send you another email as soon as it ships.",
        "Order summary, payment method and billing address are listed below.",
        "Paid by credit card ending in {n}.",
        "Subtotal, discount, shipping and handling, estimated tax, order total.",
        "You can change or cancel the order in your account until it is packed.",
        "Thank you for shopping with us.",
        "Download the receipt for your records.",
    ),
    "Your invoice {n} is ready": (
        "Please find attached your invoice for this month.",
        "The amount due is payable within 30 days of the invoice date.",
        "Your card will be charged automatically, no action is needed.",
        "The payment was received, thank you.",
        "You can download all your invoices in the billing section of your account.",
        "Our bank details are on the invoice and have not changed.",
        "If you have a question about this invoice, just reply to this email or call our accounts department.",
        "Kind regards, the billing team",
        "Dear Sir or Madam, please find enclosed our statement of account.",
        "The total amount includes value added tax at the standard rate.",
    ),
    "Reset your password": (
        "We received a request to reset the password for your account.",
        "Click the button below to choose a new password.",
        "This link is valid for 24 hours and can be used once.",
        "If you did not request this, you can safely ignore this email.",
        "Your password will not change until you open the link above and create a new one.",
        "For security reasons we never ask you for your password by email.",
        "Your password was changed successfully.",
        "If you have trouble, copy and paste the link into your browser.",
    ),
    "Please confirm your email address": (
        "Welcome and thanks for signing up.",
        "Please confirm your email address by opening the link below.",
        "Once confirmed you can sign in and complete your profile.",
        "Your user name is the email address you registered with.",
        "Here are a few things to help you get started with your new account.",
        "Invite your team, connect your calendar and create your first project.",
        "Your trial lasts 14 days, you do not need a credit card.",
        "Our documentation and the support team are there for you.",
    ),
    "New sign-in to your account": (
        "We noticed a new sign-in to your account from a new device.",
        "If this was you, there is nothing you need to do.",
        "If you do not recognise this activity, please change your password and review your recent activity.",
        "Date, time, browser and approximate location are shown below.",
        "Two-factor authentication has been enabled for your account.",
        "Your verification code is {n}, it expires in ten minutes.",
        "Do not share this code with anyone.",
    ),
    "Your appointment on Monday": (
        "This is a reminder of your appointment on Monday at 10 am.",
        "Please arrive ten minutes early and bring your insurance card.",
        "If you cannot make it, please call us at least one day before.",
        "We look forward to seeing you.",
        "Your booking is confirmed, your reference is {n}.",
        "Add this event to your calendar.",
        "Free cancellation until 24 hours before arrival.",
        "Check-in from 3 pm, check-out until 11 am, breakfast included.",
        "Your flight departs from gate, boarding time and seat are on the ticket.",
    ),
    "News from our team": (
        "In this month's issue we tell you what is new and what comes next.",
        "Read the full story on our blog.",
        "Join us for a free webinar on Thursday, register now to save your seat.",
        "Our new collection has arrived in the stores.",
        "Members save 20% this weekend, online and in store.",
        "Free shipping on orders over 50 dollars until Sunday.",
        "Shop the sale, discover our favourites and find a store near you.",
        "You are receiving this email because you subscribed to our newsletter.",
        "Unsubscribe or update your preferences at any time.",
        "View this email in your browser.",
        "Follow us and share this newsletter with a friend.",
        "Recipes, travel tips and interviews for the weekend.",
        "Download our free guide and watch the recording.",
        "Best sellers, new arrivals and limited editions, while stocks last.",
        "Happy birthday, here is a gift for you, valid for one month.",
    ),
    "Your monthly statement": (
        "Your statement for this month is now available in online banking.",
        "Interest rates, fees and terms have not changed.",
        "We have received your loan application and will contact you within two business days.",
        "Your payment of {n} dollars has been sent.",
        "Your direct debit will be collected on the first of the month.",
        "Please keep this document for your tax return.",
        "Your insurance policy renews next month, you need not do anything.",
        "The annual report and the dates of the general meeting are on our investor pages.",
        "Dividend payments to shareholders take place in May.",
    ),
    "Quotation {n}": (
        "Thank you for your enquiry, please find attached our quotation.",
        "Prices are net and valid for 30 days, delivery time is about three weeks.",
        "We would be pleased to receive your purchase order.",
        "Please let us know the quantity you need and the delivery address.",
        "Our sales team is happy to help with any further questions.",
        "The samples were sent by courier yesterday.",
        "Could you please send us the updated price list and the specifications?",
        "Please confirm the delivery date by the end of the week.",
        "The goods are manufactured in our own factory to the agreed quality.",
        "Best regards, sales manager",
    ),
    "Meeting next week": (
        "Are you available for a short call on Tuesday afternoon?",
        "I have attached the agenda and the slides from last time.",
        "Please review the contract and send me your comments by Friday.",
        "The document was shared with you, you can open it in the project folder.",
        "Let me know if the time does not suit you, I can move the meeting.",
        "It was a pleasure to meet you at the conference.",
        "I am following up on our conversation about the budget.",
        "Thanks for your quick reply, that works for us.",
        "Could you forward this to the person in charge at your company?",
        "I am out of the office until Monday and will answer your email when I return.",
    ),
    "Your application": (
        "Thank you for applying for the position, we have received your documents.",
        "We would like to invite you to an interview.",
        "Please find attached my resume and cover letter.",
        "The salary and benefits are described in the attached offer.",
        "Your parental leave request has been approved by the human resources department.",
        "The new health insurance plan starts in January.",
        "Please submit your expenses and travel receipts before the end of the month.",
    ),
    "Scheduled maintenance": (
        "We will carry out maintenance on Sunday between 2 and 4 am.",
        "During this time the service may be unavailable for a few minutes.",
        "Your domain will expire in 30 days, automatic renewal is on.",
        "Your backup completed successfully, no errors were found.",
        "Disk usage on the server has reached 80 percent.",
        "Your ticket has been updated, view it in the support portal.",
        "Your subscription renews on the first, you can cancel any time in the settings.",
        "Your certificate was renewed.",
        "We have updated our terms of service and privacy policy.",
        "Please rate our service, the survey takes two minutes.",
    ),
    "Thank you for your donation": (
        "Your gift helps children in need to go to school.",
        "The charity sends you a receipt for your tax records in January.",
        "Join us as a volunteer at the summer festival.",
        "The church service starts at ten on Sunday, followed by coffee.",
        "Parents are invited to the school play, tickets are free.",
        "Members of the club meet on Friday, the fee for the year is due.",
        "Congratulations to the winners of our photo contest, the prize will be sent by post.",
        "Our love and sympathy to your family.",
        "Dear friends, we moved to a new house and would love to see you.",
    ),
}

VARIANTS = 12


def ordinary_texts() -> Iterator[tuple[str, str]]:
    """(subject, text) of every variant, always the same in the same order."""
    for number, (subject, sentences) in enumerate(SCENES.items()):
        for variant in range(VARIANTS):
            size = 3 + variant % 5
            start = variant * 3 + number
            chosen = [sentences[(start + step * (1 + variant % 2)) % len(sentences)] for step in range(size)]
            filled = str(1000 + 37 * number + 811 * variant)
            yield subject.replace("{n}", filled), " ".join(dict.fromkeys(chosen)).replace("{n}", filled)
